"""From a checkpoint to what the device carries: the quantised ONNX file, its proof, and the demo's clips."""
