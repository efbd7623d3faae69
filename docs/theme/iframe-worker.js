// The search runs in a worker, and a browser lets no page from a file: start one. There, a hidden frame takes its place.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.frame = frame.contentWindow
      this.ready = new Promise(loaded => {
        const script = frame.contentDocument.createElement("script")
        script.src = url
        script.onload = loaded
        this.frame.postMessage = message => this.dispatchEvent(new MessageEvent("message", { data: message }))
        frame.contentDocument.body.append(script)
      })
    }
    postMessage(message) {
      this.ready.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data: message })))
    }
    terminate() {
      this.frame.frameElement.remove()
    }
  }
