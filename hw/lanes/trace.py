"""The trace of the layers, for a verifier."""

from amaranth.hdl import signed
from amaranth.lib import data
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.sequencer import token_layout


def trace_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The trace of the layers in a cycle: parts with a ``…_valid`` and the number of their pass.

    ``issue`` comes in the first cycle of a pass, in which alone ``issue_begins`` is high, and whenever the
    operation changes for which a cycle counts. ``load`` comes when the loader begins what its pass loads.
    """
    wide = data.ArrayLayout(signed(config.widths.wide), config.lanes)
    index, number = ceil_log2(config.program), token_layout(config)["number"].shape
    return data.StructLayout(
        {
            "issue_valid": 1,
            "issue_pass": index,
            "issue_operation": OperationCode,
            "issue_begins": 1,
            "load_valid": 1,
            "load_pass": index,
            "acc_valid": 1,
            "acc_pass": index,
            "acc_number": number,
            "acc": wide,
            "result_valid": 1,
            "result_pass": index,
            "result_number": number,
            "y": wide,
            "stored": wide,
            "bits_0": config.lanes,
            "bits_1": config.lanes,
            "haar_valid": 1,
            "haar_pass": index,
            "haar_number": number,
            "haar_phase": 1,
            "haar": wide,
            "attention_valid": 1,
            "attention_pass": index,
            "attention_address": ceil_log2(config.signs),
            "attention_chunk": ceil_log2(config.chunks),
            "attention": config.lanes,
        }
    )
