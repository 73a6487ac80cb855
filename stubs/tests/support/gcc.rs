//! gcc's code in the process of a test, on every host.

use fing_stubs::{Abi, Convention};

#[path = "library.rs"]
pub(crate) mod library;

/// The conventions of this host's gcc, with the attribute of a function that is of each.
pub(crate) fn conventions() -> Vec<(Abi, &'static str)> {
    if cfg!(target_arch = "x86_64") {
        let windows = Abi::native(Convention::Fastcall);
        vec![(Abi::system_v(), "sysv_abi"), (windows, "ms_abi")]
    } else {
        // No function has more than one; the attribute says nothing.
        vec![(Abi::host_native().unwrap(), "unused")]
    }
}

/// Compiles a shared library for this host and opens it; see [`library::open`].
pub(crate) fn open(name: &str, source: &str) -> Option<impl Fn(&str) -> usize + use<>> {
    library::open(
        name,
        &[library::CODE_STAYS],
        &[("callers.c", source.as_bytes())],
    )
}
