// The bench as a library, for a process that talks to the component by function calls; sw/verilated/simulation.py
// loads it. It does what sw/verilated/driver.py does under cocotb, with the same signals of bench.v.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"

namespace {

constexpr size_t CHUNK = 64;  // bytes, as in bench.v

struct Bench {
    VerilatedContext context;
    Vtop* top;

    Bench() {
        context.threads(1);
        context.commandArgs(0, static_cast<const char**>(nullptr));  // bench.v looks for +trace
        context.randReset(2);  // built with --x-initial unique: random values, but the same in every run
        context.randSeed(1);
        Verilated::threadContextp(&context);
        top = new Vtop(&context);
    }

    ~Bench() {
        Verilated::threadContextp(&context);  // the model looks here for what it has to release
        top->final();
        delete top;
    }

    // On to the next edge of the clock.
    void step() {
        top->eval();
        context.time(top->nextTimeSlot());
    }

    void cycles(int count) {
        for (int i = 0; i < 2 * count; ++i) step();
    }
};

}  // namespace

extern "C" {

void bench_restart(Bench* bench) {
    bench->top->rootp->bench__DOT__restart = 1;
    bench->cycles(4);
    bench->top->rootp->bench__DOT__restart = 0;
    bench->cycles(2);  // the reset goes through a register
}

Bench* bench_open() {
    auto bench = new Bench;
    bench_restart(bench);
    return bench;
}

void bench_close(Bench* bench) { delete bench; }

uint64_t bench_cycle(const Bench* bench) { return bench->top->rootp->bench__DOT__cycle; }

// Send from `bytes` until something comes, or until `silence` cycles after the last chunk went in. Returns how many
// bytes have come, at most CHUNK, which it writes to `received`; `taken` is how many of `bytes` went in.
size_t bench_exchange(Bench* bench, const uint8_t* bytes, size_t count, size_t* taken, uint8_t* received,
                      uint64_t silence) {
    auto& signals = *bench->top->rootp;
    const bool before = signals.bench__DOT__received;
    uint64_t last = signals.bench__DOT__cycle;
    *taken = 0;
    while (signals.bench__DOT__received == before) {
        if (signals.bench__DOT__sent == signals.bench__DOT__send && *taken < count) {
            const size_t size = std::min(CHUNK, count - *taken);
            std::memcpy(&signals.bench__DOT__send_data, bytes + *taken, size);
            signals.bench__DOT__send_count = size;
            signals.bench__DOT__send = !signals.bench__DOT__send;
            *taken += size;
            last = signals.bench__DOT__cycle;
        }
        if (signals.bench__DOT__cycle - last > silence) return 0;
        bench->step();
    }
    std::memcpy(received, &signals.bench__DOT__received_data, signals.bench__DOT__received_count);
    return signals.bench__DOT__received_count;
}
}
