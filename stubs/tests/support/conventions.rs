//! The conventions of this host, whichever it is.

use fing_stubs::{Abi, Arch};

/// That of its C code.
pub(crate) fn native() -> Abi {
    Abi::host_native().unwrap()
}

/// That of its Go code.
pub(crate) fn go() -> Abi {
    Abi::go(Arch::host().unwrap())
}

/// Go's with each number of integer argument registers.
pub(crate) fn go_by_registers() -> impl Iterator<Item = Abi> {
    (0..).map_while(|n| go().with_int_arg_regs(n).ok())
}
