// The bench around a component. It does what Python would be too slow to do in every cycle.
//
// Python hands over the bytes for `rx` in chunks and takes those of `tx` in chunks. It does so within no simulated
// time, so that neither stream ever waits for Python. `ports.vh`, which sw/verilated/build.py writes, declares the
// signals of the component's other ports. Time is counted in steps; a cycle has two.

module bench;
    localparam CHUNK = 64;  // bytes, as in simulation.py and simulation.cpp

    // Written by Python.
    reg restart /* verilator public_flat_rw */ = 1;
    reg [3:0] gaps /* verilator public_flat_rw */ = 0;  // in how many of 16 cycles rx gets no byte although it could
    reg [3:0] stalls /* verilator public_flat_rw */ = 0;  // in how many of 16 cycles tx is not ready
    reg [31:0] seed /* verilator public_flat_rw */ = 1;  // the seed of both, read during reset; never 0
    reg [8*CHUNK-1:0] send_data /* verilator public_flat_rw */ = 0;  // the first byte in the lowest bits
    reg [6:0] send_count /* verilator public_flat_rw */ = 0;
    reg send /* verilator public_flat_rw */ = 0;  // toggles where there is another chunk to send
    reg flush /* verilator public_flat_rw */ = 0;  // toggles where the trace so far must be written out

    // Read by Python.
    reg sent /* verilator public_flat_rd */ = 0;  // follows `send` once the chunk is taken
    reg idle /* verilator public_flat_rd */ = 1;  // the component has taken every byte
    reg [8*CHUNK-1:0] received_data /* verilator public_flat_rd */ = 0;
    reg [6:0] received_count /* verilator public_flat_rd */ = 0;
    reg [63:0] received_cycle /* verilator public_flat_rd */ = 0;  // the cycle in which the last of them came
    reg received /* verilator public_flat_rd */ = 0;  // toggles where another chunk has come
    reg [63:0] cycle /* verilator public_flat_rd */ = 0;  // clock edges since the reset

    reg clk = 0;
    always #1 clk = !clk;

    // The reset goes through a register. Verilator evaluates all logic that depends on a signal which Python may write
    // twice more in every cycle, and in Amaranth's Verilog the input of every flip-flop depends on the reset.
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

    // One byte per cycle goes into rx, without a break from one chunk to the next.
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

    // Bytes of tx are handed over CHUNK cycles after the first of them, or earlier once there are CHUNK bytes.
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
    // Each event is one record of 32-bit words in the computer's byte order: the lowest bits of `cycle`, then `trace`,
    // the lowest word first.
    string path;
    integer file = 0;
    initial if ($value$plusargs("trace=%s", path)) file = $fopen(path, "wb");
    always @(posedge clk) if (file != 0 && !rst && trace_valid) $fwrite(file, "%u", {trace_words, cycle[31:0]});
    always @(flush) if (file != 0) $fflush(file);
    final if (file != 0) $fclose(file);
`endif
endmodule
