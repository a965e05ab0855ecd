//! From ONNX vision transformers to ViTCoD programs.
