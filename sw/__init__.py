"""The host's software: the compiler, the devices that run compiled models, and the programs for people.

Start with `accelerator.py`, which a program uses to label images, or with `infer.py`, the same for a person.

    infer.py, compile.py, evaluate.py, bitstream.py, flash.py   commands; haarlequin/ has the list of all
    accelerator.py    a device with a model on it: images in, labels out
    resolve.py        finds the model and the configuration that a person names
    targets.py        compiles a model for either kind of machine
    compiler/         for the array of lanes: a golden model becomes a program and tables
    scalar/           for the scalar machine: a golden model becomes firmware
    table_folder.py   a compiled model as a folder; boot_image.py: as the content of a flash
    devices/          run a compiled model: in simulation, in the golden model, or on a board
    verilated/        the RTL as a Verilated simulator
    images.py         finds the image files that a person names
    report.py         prints what the device answered
    service.py        one accelerator for many clients; http_server.py puts it on the network
    start.py          says in one line which package a Python lacks
"""
