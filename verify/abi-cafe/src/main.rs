//! `cargo run -p fing-abi-cafe [-- SET...]` has abi-cafe judge fing. As `clang`, the compiler that
//! abi-cafe runs.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> ExitCode {
    use std::path::Path;
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let outcome = if name.is_some_and(|name| name == "clang") {
        fing_abi_cafe::compiler::main(&arguments[1..])
    } else {
        fing_abi_cafe::judge::main(&arguments[1..])
    };
    outcome.unwrap_or_else(|what| {
        eprintln!("fing-abi-cafe: {what}");
        ExitCode::FAILURE
    })
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() -> ExitCode {
    eprintln!("fing-abi-cafe: abi-cafe judges its own host, here Linux on x86-64");
    ExitCode::FAILURE
}
