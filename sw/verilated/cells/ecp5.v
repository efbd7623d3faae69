// ECP5 primitives that yosys ships as empty boxes.
//
// Written from Lattice's documents: memory, "ECP5 and ECP5-5G Memory Usage Guide" (FPGA-TN-02204); multiplier, "ECP5
// and ECP5-5G sysDSP Usage Guide" (FPGA-TN-02205); PLL, "ECP5 and ECP5-5G sysCLOCK PLL/DLL Design and Usage Guide"
// (FPGA-TN-02200); USRMCLK, "ECP5 and ECP5-5G sysCONFIG Usage Guide" (FPGA-TN-02039). Timing is not modelled. A
// parameter ends the build if its effect is not modelled.

// Block RAM: 2048 bytes of 9 bits, with two ports of 1, 2, 4, 9 or 18 bits. With 36 bits a port reads or writes 512
// words with the data pins of both ports: A may then only write, B may only read.
//
// - Addresses count bits: ports of 9 bits ignore the lowest three address bits, ports of 18 bits four, ports of 36 bits
//   five. Ports narrower than 9 bits see the lower 8 bits of each byte. Ports of 18 and 36 bits use ADx0, ADx1, … as
//   write enables of their bytes.
// - A bit is read as noise if the other port writes it at the same edge, and becomes noise if both ports write it: the
//   guide leaves both undefined. Edges of two clocks count as the same if the other clock is high; this rather makes
//   too much noise than too little.
// - The memory begins with INITVAL, or with 0 where that is not given. The outputs begin with 0, because the
//   configuration resets them.
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
        DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    parameter GSR = "ENABLED", INIT_DATA = "STATIC";
    parameter WID = 0;
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

    function known(input integer width);
        known = width == 1 || width == 2 || width == 4 || width == 9 || width == 18 || width == 36;
    endfunction
    generate
        if (!known(DATA_WIDTH_A) || !known(DATA_WIDTH_B)) $fatal(1, "DP16KD: unknown DATA_WIDTH");
        if (REGMODE_A != "NOREG" && REGMODE_A != "OUTREG" || REGMODE_B != "NOREG" && REGMODE_B != "OUTREG")
            $fatal(1, "DP16KD: unknown REGMODE");
        if (RESETMODE != "SYNC" && RESETMODE != "ASYNC") $fatal(1, "DP16KD: unknown RESETMODE");
        if (RESETMODE == "ASYNC" && ASYNC_RESET_RELEASE != "ASYNC")
            $fatal(1, "DP16KD: a synchronous end of an asynchronous reset is not modelled");
        if (CLKAMUX != "CLKA" && CLKAMUX != "INV" || CLKBMUX != "CLKB" && CLKBMUX != "INV")
            $fatal(1, "DP16KD: unknown clock inverter");
    endgenerate

    localparam [64*320-1:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };
    reg [35:0] memory [0:511];
    integer row;
    initial
        for (row = 0; row < 512; row = row + 1)
            memory[row] = {INIT[20*(2*row+1) +: 18], INIT[20*2*row +: 18]};  // 18 of 20 bits each

    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0};
    wire [35:0] dia = {dib, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
        DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [35:0] doa, dob;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0} = DATA_WIDTH_B == 36 ? dob[17:0] : doa[17:0];
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0} = DATA_WIDTH_B == 36 ? dob[35:18] : dob[17:0];

    wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA, clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire [35:0] mask_a, mask_b, data_a, data_b;
    wire [8:0] row_a, row_b;

    // The new value of a row after both ports. Both blocks below compute the same, so that their order does not matter.
    wire same = row_a == row_b && clka && clkb;
    wire [35:0] also_b = same ? mask_b : 0, also_a = same ? mask_a : 0;
    reg [35:0] noise = 36'h9_5A17_3C2E;
    wire [35:0] next_a = memory[row_a] & ~mask_a & ~also_b | data_a & mask_a & ~also_b | data_b & also_b & ~mask_a
        | noise & mask_a & also_b;
    wire [35:0] next_b = memory[row_b] & ~mask_b & ~also_a | data_b & mask_b & ~also_a | data_a & also_a & ~mask_b
        | noise & mask_b & also_a;
    always @(posedge clka) begin
        if (|mask_a) memory[row_a] <= next_a;
        if (same) noise <= {noise[34:0], noise[35] ^ noise[24]};
    end
    always @(posedge clkb) if (|mask_b) memory[row_b] <= next_b;

    DP16KD_port #(.WIDTH(DATA_WIDTH_A), .REGMODE(REGMODE_A), .RESETMODE(RESETMODE), .WRITEMODE(WRITEMODE_A)) port_a (
        .clk(clka), .ce(CEA && {CSA2, CSA1, CSA0} == {CSDECODE_A[16], CSDECODE_A[8], CSDECODE_A[0]}),
        .oce(OCEA), .we(WEA), .rst(RSTA),
        .ad({ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0}),
        .di(dia), .memory(memory[row_a]), .noise(noise), .collision(also_b), .row(row_a), .mask(mask_a), .data(data_a),
        .q(doa)
    );
    DP16KD_port #(.WIDTH(DATA_WIDTH_B), .REGMODE(REGMODE_B), .RESETMODE(RESETMODE), .WRITEMODE(WRITEMODE_B)) port_b (
        .clk(clkb), .ce(CEB && {CSB2, CSB1, CSB0} == {CSDECODE_B[16], CSDECODE_B[8], CSDECODE_B[0]}),
        .oce(OCEB), .we(WEB), .rst(RSTB),
        .ad({ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0}),
        .di({18'b0, dib}), .memory(memory[row_b]), .noise(noise), .collision(also_a), .row(row_b), .mask(mask_b),
            .data(data_b),
        .q(dob)
    );
endmodule

module DP16KD_port #(
    parameter WIDTH = 18,
    parameter REGMODE = "NOREG",
    parameter RESETMODE = "SYNC",
    parameter WRITEMODE = "NORMAL"
) (
    input clk, ce, oce, we, rst,
    input [13:0] ad,
    input [35:0] di,
    input [35:0] memory,  // the row
    input [35:0] noise,
    input [35:0] collision,  // the bits of the row that the other port writes
    output [8:0] row,
    output [35:0] mask, data,  // the bits that this port writes
    output [35:0] q
);
    // The bit of the row at which the port's word begins.
    wire [5:0] start = WIDTH == 36 ? 0 : WIDTH == 18 ? 18 * ad[4]
        : 9 * ad[4:3] + (WIDTH == 9 ? 0 : WIDTH == 4 ? 4 * ad[2] : WIDTH == 2 ? 2 * ad[2:1] : ad[2:0]);
    wire [35:0] bytes = WIDTH == 36 ? {{9{ad[3]}}, {9{ad[2]}}, {9{ad[1]}}, {9{ad[0]}}}
        : WIDTH == 18 ? {{9{ad[1]}}, {9{ad[0]}}} : (36'd1 << WIDTH) - 1;
    wire [35:0] word = WIDTH == 36 ? {36{1'b1}} : (36'd1 << WIDTH) - 1;
    // A synchronous reset of the outputs has priority over a write.
    wire write = ce && we && !(rst && RESETMODE == "SYNC");
    assign row = ad[13:5];
    assign mask = write ? bytes << start : 0;
    assign data = di << start;

    wire [35:0] old = memory & ~collision | noise & collision;
    wire [35:0] seen = WRITEMODE == "WRITETHROUGH" ? old & ~mask | data & mask : old;
    reg [35:0] latch = 0, register = 0;
    generate
        if (WRITEMODE != "NORMAL" && WRITEMODE != "WRITETHROUGH" && WRITEMODE != "READBEFOREWRITE")
            $fatal(1, "DP16KD: unknown WRITEMODE");
        if (RESETMODE == "ASYNC") begin
            always @(posedge clk, posedge rst)
                if (rst) latch <= 0;
                else if (ce && !(we && WRITEMODE == "NORMAL")) latch <= seen >> start & word;
            always @(posedge clk, posedge rst)
                if (rst) register <= 0;
                else if (oce) register <= latch;
        end else begin
            always @(posedge clk)
                if (rst) latch <= 0;
                else if (ce && !(we && WRITEMODE == "NORMAL")) latch <= seen >> start & word;
            always @(posedge clk)
                if (rst) register <= 0;
                else if (oce) register <= latch;
        end
    endgenerate
    assign q = REGMODE == "OUTREG" ? register : latch;
endmodule

// Multiplier, 18×18 to 36 bits, each operand signed or not, with its registers of operands and product, which begin with
// 0 and have enables; pipeline registers, resets, clocks other than CLK0 and cascades are not modelled.
module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    input SRIA17, SRIA16, SRIA15, SRIA14, SRIA13, SRIA12, SRIA11, SRIA10, SRIA9, SRIA8, SRIA7, SRIA6, SRIA5, SRIA4,
        SRIA3, SRIA2, SRIA1, SRIA0,
    input SRIB17, SRIB16, SRIB15, SRIB14, SRIB13, SRIB12, SRIB11, SRIB10, SRIB9, SRIB8, SRIB7, SRIB6, SRIB5, SRIB4,
        SRIB3, SRIB2, SRIB1, SRIB0,
    output SROA17, SROA16, SROA15, SROA14, SROA13, SROA12, SROA11, SROA10, SROA9, SROA8, SROA7, SROA6, SROA5, SROA4,
        SROA3, SROA2, SROA1, SROA0,
    output SROB17, SROB16, SROB15, SROB14, SROB13, SROB12, SROB11, SROB10, SROB9, SROB8, SROB7, SROB6, SROB5, SROB4,
        SROB3, SROB2, SROB1, SROB0,
    output ROA17, ROA16, ROA15, ROA14, ROA13, ROA12, ROA11, ROA10, ROA9, ROA8, ROA7, ROA6, ROA5, ROA4, ROA3, ROA2,
        ROA1, ROA0,
    output ROB17, ROB16, ROB15, ROB14, ROB13, ROB12, ROB11, ROB10, ROB9, ROB8, ROB7, ROB6, ROB5, ROB4, ROB3, ROB2,
        ROB1, ROB0,
    output ROC17, ROC16, ROC15, ROC14, ROC13, ROC12, ROC11, ROC10, ROC9, ROC8, ROC7, ROC6, ROC5, ROC4, ROC3, ROC2,
        ROC1, ROC0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0, SIGNEDP
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
    parameter REG_INPUTC_CLK = "NONE", REG_INPUTC_CE = "CE0", REG_INPUTC_RST = "RST0";
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
    parameter CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED", CLK3_DIV = "ENABLED";
    parameter HIGHSPEED_CLK = "NONE", GSR = "ENABLED", CAS_MATCH_REG = "FALSE", SOURCEB_MODE = "B_SHIFT";
    parameter MULT_BYPASS = "DISABLED", RESETMODE = "SYNC";

    generate
        if (!known(REG_INPUTA_CLK) || !known(REG_INPUTB_CLK) || !known(REG_OUTPUT_CLK) || REG_INPUTC_CLK != "NONE"
            || REG_PIPELINE_CLK != "NONE")
            $fatal(1, "MULT18X18D: these registers are not modelled");
        if (MULT_BYPASS != "DISABLED") $fatal(1, "MULT18X18D: MULT_BYPASS is not modelled");
        if (SOURCEB_MODE != "B_SHIFT") $fatal(1, "MULT18X18D: SOURCEB_MODE is not modelled");
    endgenerate
    wire [3:0] enables = {CE3, CE2, CE1, CE0}, resets = {RST3, RST2, RST1, RST0};
    function [1:0] chosen(input [31:0] name);
        chosen = name[1:0];  // the last digit of CE0 to CE3 and RST0 to RST3
    endfunction
    always @* begin
        if (SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: operands that are shifted in are not modelled");
        if (REG_INPUTA_CLK != "NONE" && resets[chosen(REG_INPUTA_RST)]
                || REG_INPUTB_CLK != "NONE" && resets[chosen(REG_INPUTB_RST)]
                || REG_OUTPUT_CLK != "NONE" && resets[chosen(REG_OUTPUT_RST)])
            $fatal(1, "MULT18X18D: resets are not modelled");
    end
    function known(input [31:0] clock);
        known = clock == "NONE" || clock == "CLK0";
    endfunction
    wire [17:0] now_a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] now_b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    assign SIGNEDP = SIGNEDA | SIGNEDB;
    reg [17:0] later_a = 0, later_b = 0;
    reg [35:0] later_p = 0;
    always @(posedge CLK0) begin
        if (enables[chosen(REG_INPUTA_CE)]) later_a <= now_a;
        if (enables[chosen(REG_INPUTB_CE)]) later_b <= now_b;
        if (enables[chosen(REG_OUTPUT_CE)]) later_p <= now_p;
    end
    wire [17:0] a = REG_INPUTA_CLK == "NONE" ? now_a : later_a, b = REG_INPUTB_CLK == "NONE" ? now_b : later_b;
    wire [35:0] now_p = {{18{SIGNEDA & a[17]}}, a} * {{18{SIGNEDB & b[17]}}, b};
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} =
        REG_OUTPUT_CLK == "NONE" ? now_p : later_p;
endmodule

// PLL. One enabled output is the input clock, so the bench must give the clock that the PLL would make. Of several
// outputs each is the input clock divided by its divider over the greatest common one, or by twice that where one of
// them would not be divided at all: then all edges come from registers, at once, as those of a PLL do. Frequencies and
// phases are not modelled otherwise. LOCK rises after 16 edges.
module EHXPLLL (
    input CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY, PLLWAKESYNC, RST,
    input ENCLKOP, ENCLKOS, ENCLKOS2, ENCLKOS3,
    output CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK, INTLOCK, REFCLK, CLKINTFB
);
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOS_DIV = 8, CLKOS2_DIV = 8, CLKOS3_DIV = 8;
    parameter CLKOP_ENABLE = "ENABLED", CLKOS_ENABLE = "DISABLED";
    parameter CLKOS2_ENABLE = "DISABLED", CLKOS3_ENABLE = "DISABLED";
    parameter CLKOP_CPHASE = 0, CLKOS_CPHASE = 0, CLKOS2_CPHASE = 0, CLKOS3_CPHASE = 0;
    parameter CLKOP_FPHASE = 0, CLKOS_FPHASE = 0, CLKOS2_FPHASE = 0, CLKOS3_FPHASE = 0;
    parameter FEEDBK_PATH = "CLKOP";
    parameter CLKOP_TRIM_POL = "RISING", CLKOP_TRIM_DELAY = 0, CLKOS_TRIM_POL = "RISING", CLKOS_TRIM_DELAY = 0;
    parameter OUTDIVIDER_MUXA = "DIVA", OUTDIVIDER_MUXB = "DIVB", OUTDIVIDER_MUXC = "DIVC", OUTDIVIDER_MUXD = "DIVD";
    parameter PLL_LOCK_MODE = 0, PLL_LOCK_DELAY = 200, STDBY_ENABLE = "DISABLED", REFIN_RESET = "DISABLED";
    parameter SYNC_ENABLE = "DISABLED", INT_LOCK_STICKY = "ENABLED", DPHASE_SOURCE = "DISABLED";
    parameter PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED";

    localparam P = CLKOP_ENABLE == "ENABLED" ? CLKOP_DIV : 0, S = CLKOS_ENABLE == "ENABLED" ? CLKOS_DIV : 0;
    localparam S2 = CLKOS2_ENABLE == "ENABLED" ? CLKOS2_DIV : 0, S3 = CLKOS3_ENABLE == "ENABLED" ? CLKOS3_DIV : 0;
    function integer common(input integer a, b);
        integer rest;
        while (b != 0) begin
            rest = a % b;
            a = b;
            b = rest;
        end
        common = a;
    endfunction
    localparam COMMON = common(common(P, S), common(S2, S3));
    localparam SEVERAL = (P != 0) + (S != 0) + (S2 != 0) + (S3 != 0) > 1;
    localparam TWICE = SEVERAL && (P == COMMON || S == COMMON || S2 == COMMON || S3 == COMMON) ? 2 : 1;
    generate
        if (SEVERAL && (P != 0 && CLKOP_CPHASE != P - 1 || S != 0 && CLKOS_CPHASE != S - 1
                || S2 != 0 && CLKOS2_CPHASE != S2 - 1 || S3 != 0 && CLKOS3_CPHASE != S3 - 1))
            $fatal(1, "EHXPLLL: outputs that are not in phase are not modelled");
    endgenerate
    EHXPLLL_output #(.RATIO(P / COMMON * TWICE)) op (.in(CLKI), .out(CLKOP));
    EHXPLLL_output #(.RATIO(S / COMMON * TWICE)) os (.in(CLKI), .out(CLKOS));
    EHXPLLL_output #(.RATIO(S2 / COMMON * TWICE)) os2 (.in(CLKI), .out(CLKOS2));
    EHXPLLL_output #(.RATIO(S3 / COMMON * TWICE)) os3 (.in(CLKI), .out(CLKOS3));
    assign REFCLK = CLKI, CLKINTFB = CLKI;
    reg [4:0] edges = 0;
    always @(posedge CLKI) if (!LOCK) edges <= edges + 1;
    assign LOCK = edges[4], INTLOCK = edges[4];
endmodule

module EHXPLLL_output #(
    parameter RATIO = 1  // 0 for an output that is not enabled
) (
    input in,
    output out
);
    generate
        if (RATIO < 2) assign out = RATIO == 1 && in;
        else begin
            integer count = 0;
            reg level = 0;
            always @(posedge in) begin
                count <= count == RATIO - 1 ? 0 : count + 1;
                level <= count < RATIO / 2;
            end
            assign out = level;
        end
    endgenerate
endmodule

// The clock of the configuration flash. It is a pin of its own, and nothing here uses it.
module USRMCLK (input USRMCLKI, USRMCLKTS);
endmodule

// A common reset of all flip-flops. It does nothing here: they only have their value at configuration.
module GSR (input GSR);
endmodule

module SGSR (input GSR, CLK);
endmodule

// yosys' own model has three levels of multiplexers; with this one Verilator takes three quarters of the time.
module LUT4 (input A, B, C, D, output Z);
    parameter [15:0] INIT = 16'h0000;
    assign Z = INIT[{D, C, B, A}];
endmodule

// A pin. yosys' own model lets an unconnected T float, and Verilator, which has only two values, does not know that.
module TRELLIS_INPUT (input B, output O);
    parameter DIR = "INPUT";
    assign O = B;
endmodule

module TRELLIS_IO (inout B, input I, input T = 1'b0, output O);
    parameter DIR = "INPUT";
    generate
        if (DIR == "OUTPUT") assign B = T ? 1'bz : I;
        else if (DIR == "BIDIR") begin
            assign B = T ? 1'bz : I;
            assign O = B;
        end else $fatal(1, "TRELLIS_IO: unknown DIR");
    endgenerate
endmodule
