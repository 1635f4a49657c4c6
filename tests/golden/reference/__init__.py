"""An independent reference of attnscope's mathematics in plain numpy.

Written from the formulas of the papers and of the model families (see ../README.md), not from any
implementation: short, slow, float64 unless the weights are loaded as something else. One picture at
a time, so every map is [C, H, W]; there is no batch axis.

    files       safetensors in and out
    ops         convolution, normalisation, activations
    mechanisms  super-token, bi-level routing and polarized attention
    blocks      the YOLO blocks and the residual forms of the mechanisms
    heads       Detect, box decoding, NMS, end-to-end top-k
    network     YAML rows -> layers -> outputs and traces
    shapes      YAML rows -> the tensors a complete weights file holds
    drawn       weights by formula, for networks without a weights file
    letterbox   geometry of the letterbox and its inverse
"""
