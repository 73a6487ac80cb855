//! minigo: a compiler for a subset of Go, whose programs run on fing's heap.
//!
//! See the README beside this crate for the subset, and for how its parts fit together.

mod layout;
mod lower;
mod run;

pub use minigo_front::CompileError;
pub use run::Options;

use std::panic::resume_unwind;
use std::thread;

use minigo_front::{Library, load};

/// The library, in Go. Generated code calls functions of two of its packages.
const PRELUDE: Library = Library {
    always: &["runtime", "internal/channel"],
    packages: &[
        ("runtime", include_str!("../prelude/runtime.go")),
        ("runtime/debug", include_str!("../prelude/debug.go")),
        ("internal/channel", include_str!("../prelude/channel.go")),
        ("internal/value", include_str!("../prelude/value.go")),
        ("fmt", include_str!("../prelude/fmt.go")),
        ("errors", include_str!("../prelude/errors.go")),
        ("io", include_str!("../prelude/io.go")),
        ("io/fs", include_str!("../prelude/fs.go")),
        ("os", include_str!("../prelude/os.go")),
        ("sort", include_str!("../prelude/sort.go")),
        ("strconv", include_str!("../prelude/strconv.go")),
        ("strings", include_str!("../prelude/strings.go")),
        ("sync", include_str!("../prelude/sync.go")),
        ("sync/atomic", include_str!("../prelude/atomic.go")),
        ("testing", include_str!("../prelude/testing.go")),
        ("time", include_str!("../prelude/time.go")),
        ("weak", include_str!("../prelude/weak.go")),
    ],
};

/// Checks a program without compiling it.
///
/// # Errors
/// The first mistake in the program, or what is outside the subset.
pub fn check_program(name: &str, text: &str) -> Result<(), CompileError> {
    load(name, text, false, PRELUDE).map(drop)
}

/// Compiles a program and runs it. The process ends when the program ends, so this returns only
/// with [`Options::clif`].
///
/// # Errors
/// What is wrong with the program, or what this machine lacks, as text.
pub fn run_program(name: &str, text: &str, options: Options) -> Result<(), String> {
    let (name, text) = (name.to_owned(), text.to_owned());
    let prepare = move || {
        let program = load(&name, &text, options.test, PRELUDE);
        run::prepare(program.map_err(|error| error.to_string())?, options)
    };
    // The thread of the first goroutine takes over the memory that this one gives back.
    let thread = thread::Builder::new().stack_size(run::STACK).spawn(prepare);
    let thread = thread.map_err(|error| format!("no thread for the compiler: {error}"))?;
    let ready = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    ready?.map_or(Ok(()), |vm| vm.run())
}
