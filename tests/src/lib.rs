//! What Steadfast's tests share: the namespace laboratory, the simulator, packets made by hand. The tests
//! themselves are in `tests/tests`, the command that runs all of them is `tests/run`.

#![forbid(unsafe_code)]

pub mod guide;
pub mod ipvsadm;
pub mod lab;
pub mod qemu;
pub mod sim;
pub mod vm;
pub mod wire;
