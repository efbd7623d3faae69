// iCE40 primitives that yosys ships as empty boxes, or with more in them than is needed here. Timing is not modelled.

// PLLs, after Lattice's "iCE40 sysCLOCK PLL Design and Usage Guide" (FPGA-TN-02052). The output is the input clock, so
// the bench must give the clock that the PLL would make. Frequencies, RESETB and phases are not modelled. LOCK rises
// after 16 edges.

module SB_PLL40_CORE (
    input REFERENCECLK, EXTFEEDBACK, BYPASS, RESETB, LATCHINPUTVALUE, SDI, SCLK,
    input [7:0] DYNAMICDELAY,
    output PLLOUTCORE, PLLOUTGLOBAL, LOCK, SDO
);
    parameter FEEDBACK_PATH = "SIMPLE", PLLOUT_SELECT = "GENCLK";
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED";
    parameter SHIFTREG_DIV_MODE = 0, FDA_FEEDBACK = 0, FDA_RELATIVE = 0, DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
    parameter ENABLE_ICEGATE = 0, TEST_MODE = 0, EXTERNAL_DIVIDE_FACTOR = 1;

    assign PLLOUTCORE = REFERENCECLK, PLLOUTGLOBAL = REFERENCECLK, SDO = 1'b0;
    reg [4:0] edges = 0;
    always @(posedge REFERENCECLK) if (!LOCK) edges <= edges + 1;
    assign LOCK = edges[4];
endmodule

module SB_PLL40_PAD (
    input PACKAGEPIN, EXTFEEDBACK, BYPASS, RESETB, LATCHINPUTVALUE, SDI, SCLK,
    input [7:0] DYNAMICDELAY,
    output PLLOUTCORE, PLLOUTGLOBAL, LOCK, SDO
);
    parameter FEEDBACK_PATH = "SIMPLE", PLLOUT_SELECT = "GENCLK";
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED";
    parameter SHIFTREG_DIV_MODE = 0, FDA_FEEDBACK = 0, FDA_RELATIVE = 0, DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
    parameter ENABLE_ICEGATE = 0, TEST_MODE = 0, EXTERNAL_DIVIDE_FACTOR = 1;

    assign PLLOUTCORE = PACKAGEPIN, PLLOUTGLOBAL = PACKAGEPIN, SDO = 1'b0;
    reg [4:0] edges = 0;
    always @(posedge PACKAGEPIN) if (!LOCK) edges <= edges + 1;
    assign LOCK = edges[4];
endmodule

// yosys' own model has four levels of multiplexers; with this one Verilator takes less time.
module SB_LUT4 (input I0, I1, I2, I3, output O);
    parameter [15:0] LUT_INIT = 16'h0000;
    assign O = LUT_INIT[{I3, I2, I1, I0}];
endmodule

// A pin; one with registers ends the build. yosys' own model lets an unconnected CLOCK_ENABLE float, and Verilator,
// which has only two values, does not know that. PULLUP has no effect.
module SB_INPUT (
    input PACKAGE_PIN, LATCH_INPUT_VALUE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1,
    output D_IN_0, D_IN_1
);
    parameter PIN_TYPE = 6'b000001, PULLUP = 1'b0, NEG_TRIGGER = 1'b0, IO_STANDARD = "SB_LVCMOS";
    assign D_IN_0 = PACKAGE_PIN;
endmodule

module SB_IO (
    inout PACKAGE_PIN,
    input LATCH_INPUT_VALUE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1,
    output D_IN_0, D_IN_1
);
    parameter PIN_TYPE = 6'b000000, PULLUP = 1'b0, NEG_TRIGGER = 1'b0, IO_STANDARD = "SB_LVCMOS";
    generate if (PIN_TYPE != 6'b101001) $fatal(1, "SB_IO: only plain inputs and outputs are modelled"); endgenerate
    assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
    assign D_IN_0 = PACKAGE_PIN;
endmodule
