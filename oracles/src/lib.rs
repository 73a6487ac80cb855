//! What fing's tests compare it with, on the four Linux machines that it runs on: x86-64, arm64,
//! riscv64 and s390x (elsewhere there are only [`cases`] and [`seed`]).
//!
//! * [`go`]: functions that the real Go compiler made, mapped into this process ([`Image`]) and
//!   called without Go's runtime.
//! * [`call`]: a call with every register and frame word given by hand. It shares no code with
//!   fing, so it can judge fing.
//! * [`emulator`]: four machines whose registers can be looked at between any two instructions.
//! * [`convention`]: which physical registers each convention uses, written down a second time from
//!   the ABIs' own texts.
//! * [`c`]: C compilers for four machines, and what runs their programs.
//! * [`elf`]: an executable's segments and symbols, for the emulator.
//! * [`tool`]: finds a program the tests need.
//! * [`cases`], [`seed`]: how much a test tries of what could go on for ever.
//!
//! An oracle that is not on the machine is said aloud and its test is skipped, unless
//! `FING_REQUIRE_ORACLES=1` is set (as `./test` and CI do): then the test fails.
//! `scripts/install-oracles` installs them all.

mod amount;

pub use amount::{cases, seed};

macro_rules! on_tested_machines {
    ($($item:item)*) => {
        $(
            #[cfg(all(
                target_os = "linux",
                any(
                    target_arch = "x86_64",
                    target_arch = "aarch64",
                    target_arch = "riscv64",
                    target_arch = "s390x"
                )
            ))]
            $item
        )*
    };
}

on_tested_machines! {
    pub mod c;
    pub mod call;
    pub mod convention;
    pub mod elf;
    pub mod emulator;
    pub mod image;
    mod find;
    mod program;
    pub use find::tool;
    pub use image::Image;
    pub use program::{Go, go, go_program};
}
