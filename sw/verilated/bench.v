// The bench around a component: what Python would be too slow to do at every cycle.
//
// Python hands over bytes for `rx` by the chunk and takes those of `tx` by the chunk; it answers within no simulated
// time, so that neither side ever waits for it. `ports.vh`, which sw/verilated/build.py writes, declares the signals for the
// component's other ports. Time is in steps, two a cycle.

module bench;
    localparam CHUNK = 64;  // bytes, as in sw/verilated/simulation.py and library.cpp

    // Written by Python.
    reg restart /* verilator public_flat_rw */ = 1;
    reg [3:0] gaps /* verilator public_flat_rw */ = 0;  // of 16 cycles in which rx could get a byte, those in which it does not
    reg [3:0] stalls /* verilator public_flat_rw */ = 0;  // of 16 cycles, those in which tx is not ready
    reg [31:0] seed /* verilator public_flat_rw */ = 1;  // of both; taken in reset; never 0
    reg [8*CHUNK-1:0] send_data /* verilator public_flat_rw */ = 0;  // the first byte in the lowest bits
    reg [6:0] send_count /* verilator public_flat_rw */ = 0;
    reg send /* verilator public_flat_rw */ = 0;  // toggles: another chunk to send
    reg flush /* verilator public_flat_rw */ = 0;  // toggles: the trace so far is wanted

    // Read by Python.
    reg sent /* verilator public_flat_rd */ = 0;  // follows `send` once the chunk is taken
    reg idle /* verilator public_flat_rd */ = 1;  // the component has taken every byte
    reg [8*CHUNK-1:0] received_data /* verilator public_flat_rd */ = 0;
    reg [6:0] received_count /* verilator public_flat_rd */ = 0;
    reg [63:0] received_cycle /* verilator public_flat_rd */ = 0;  // in which the last of them came
    reg received /* verilator public_flat_rd */ = 0;  // toggles: another chunk has come
    reg [63:0] cycle /* verilator public_flat_rd */ = 0;  // clock edges since the reset

    reg clk = 0;
    always #1 clk = !clk;

    // A register: whatever follows what Python may write, Verilator evaluates twice more in every cycle, and in what
    // Amaranth writes all that a flip-flop takes follows the reset.
    reg rst = 1;
    always @(posedge clk) rst <= restart;

    reg [7:0] rx__payload = 0;
    reg rx__valid = 0;
    reg tx__ready = 0;
`include "ports.vh"
    top dut (.*);

    always @(posedge clk) cycle <= rst ? 0 : cycle + 1;

    reg [31:0] random = 1;  // xorshift: Marsaglia, Journal of Statistical Software 8(14), 2003
    always @(posedge clk)
        if (rst) random = seed;
        else begin
            random = random ^ (random << 13);
            random = random ^ (random >> 17);
            random = random ^ (random << 5);
        end

    // One byte a cycle into rx, from one chunk to the next without a break.
    reg [8*CHUNK-1:0] queue = 0;
    reg [6:0] next = 0, end_ = 0;
    reg offered = 0;
    always @(posedge clk)
        if (rst) begin
            {offered, next, end_} = 0;
            {rx__valid, idle, sent} <= {2'b01, send};
        end else begin
            if (rx__ready) offered = 0;
            if (next == end_ && send != sent) begin
                queue = send_data;
                {next, end_} = {7'd0, send_count};
                sent <= send;
            end
            if (!offered && next != end_ && random[3:0] >= gaps) begin
                rx__payload <= queue[8*next[5:0] +: 8];
                {offered, next} = {1'b1, next + 7'd1};
            end
            rx__valid <= offered;
            idle <= !offered && next == end_;
        end

    // Bytes of tx are handed over CHUNK cycles after the first of them, or earlier when there are as many.
    reg [8*CHUNK-1:0] gathered = 0;
    reg [6:0] count = 0, age = 0;
    always @(posedge clk)
        if (rst) begin
            {count, age} = 0;
            tx__ready <= 0;
        end else begin
            tx__ready <= random[7:4] >= stalls;
            if (count != 0) age = age + 1;
            if (tx__valid && tx__ready) begin
                gathered[8*count[5:0] +: 8] = tx__payload;
                count = count + 1;
                received_cycle <= cycle;
            end
            if (count == CHUNK || age == CHUNK) begin
                received_data <= gathered;
                received_count <= count;
                received <= !received;
                {count, age} = 0;
            end
        end

`ifdef TRACE
    // A record per event: `trace` in whole 32-bit words of the machine, the lowest first.
    string path;
    integer file = 0;
    initial if ($value$plusargs("trace=%s", path)) file = $fopen(path, "wb");
    always @(posedge clk) if (file != 0 && !rst && trace_valid) $fwrite(file, "%u", trace_words);
    always @(flush) if (file != 0) $fflush(file);
    final if (file != 0) $fclose(file);
`endif
endmodule
