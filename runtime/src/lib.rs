//! Loads a program, binds tensors and runs it on a device.
