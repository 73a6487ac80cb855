//! C compilers for this and other machines, and the emulators that run their programs.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::emulator::Isa;
use crate::find::{checkout, tool};

/// A compiler and what runs its programs.
#[derive(Clone, Debug)]
pub struct Toolchain {
    gcc: PathBuf,
    /// `None`: they run by themselves.
    emulator: Option<PathBuf>,
    /// Compiles the file [`CALLEES`] in place of gcc.
    clang: Option<PathBuf>,
}

/// The file of a program that another compiler may compile.
pub const CALLEES: &str = "callees.c";

/// gcc for arm64, with clang for the functions of [`CALLEES`], which are of Apple's convention.
/// The two share nothing but calls with integers and pointers, which both conventions pass alike.
///
/// `None` if it is not on this machine, which is said on standard error.
///
/// # Panics
///
/// If it is missing and `FING_REQUIRE_ORACLES=1`.
pub fn apple_toolchain() -> Option<Toolchain> {
    let clang = tool("clang-14", "functions of Apple's convention")?;
    Some(Toolchain {
        clang: Some(clang),
        ..toolchain(Isa::Arm64)?
    })
}

/// gcc for a machine; for all but x86-64 with qemu's user-mode emulator.
///
/// `None` if it is not on this machine, which is said on standard error.
///
/// # Panics
///
/// If it is missing and `FING_REQUIRE_ORACLES=1`.
pub fn toolchain(isa: Isa) -> Option<Toolchain> {
    let (gcc, qemu) = match isa {
        Isa::Amd64 => ("gcc", None),
        Isa::Arm64 => ("aarch64-linux-gnu-gcc", Some("qemu-aarch64")),
        Isa::Riscv64 => ("riscv64-linux-gnu-gcc", Some("qemu-riscv64")),
        Isa::S390x => ("s390x-linux-gnu-gcc", Some("qemu-s390x")),
    };
    let wanted_for = "functions compiled by gcc";
    let gcc = tool(gcc, wanted_for)?;
    let emulator = match qemu {
        Some(name) => Some(tool(name, wanted_for)?),
        None => None,
    };
    Some(Toolchain {
        gcc,
        emulator,
        clang: None,
    })
}

/// Sources of a program: file names with their contents.
pub type Sources<'a> = &'a [(&'a str, &'a str)];

impl Toolchain {
    /// Builds a static program of these sources and runs it; what it printed, or the step that
    /// failed and what it said.
    ///
    /// # Errors
    ///
    /// The compiler or the program fails.
    pub fn run(&self, name: &str, sources: Sources<'_>) -> Result<String, String> {
        let folder = Folder::new(name)?;
        let mut compile = Command::new(&self.gcc);
        compile
            .args(["-std=gnu11", "-O1", "-w", "-static", "-o"])
            .arg(folder.0.join("program"));
        for (file, text) in sources {
            let path = folder.0.join(file);
            fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            match (&self.clang, *file) {
                (_, header) if header.ends_with(".h") => {}
                (Some(clang), CALLEES) => {
                    compile.arg(callees(clang, &path)?);
                }
                _ => {
                    compile.arg(path);
                }
            }
        }
        output(&mut compile)?;
        let program = folder.0.join("program");
        match &self.emulator {
            Some(emulator) => output(Command::new(emulator).arg(program)),
            None => output(&mut Command::new(program)),
        }
    }
}

/// The assembly that clang makes of a file for Apple's machine, for GNU's assembler.
fn callees(clang: &Path, source: &Path) -> Result<PathBuf, String> {
    let mut compile = Command::new(clang);
    // The suffix makes clang write ELF's directives; the convention is Apple's by the system.
    compile.args([
        "--target=arm64-apple-macos12-elf",
        "-std=gnu11",
        "-O1",
        "-w",
        "-S",
    ]);
    compile.args([
        "-fno-asynchronous-unwind-tables",
        "-fno-stack-protector",
        "-fno-addrsig",
    ]);
    // No headers but clang's own: there are none of Apple's system here.
    compile.args(["-ffreestanding", "-o", "-"]);
    let text = output(compile.arg(source))?;
    let path = source.with_extension("S");
    fs::write(&path, gnu_assembly(&text)).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Apple's way to write halves of addresses, in GNU's.
fn gnu_assembly(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let symbols = line.replace("@PAGEOFF", "@LOW").replace("@PAGE", "");
        lines.push(match symbols.split_once("@LOW") {
            Some((before, after)) => {
                let start = before.rfind([' ', '\t']).map_or(0, |at| at + 1);
                format!("{}:lo12:{}{after}", &before[..start], &before[start..])
            }
            None => symbols,
        });
    }
    lines.join("\n") + "\n"
}

/// A folder under target/oracles, removed at the end unless the thread panics.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path: &Path = &checkout().join("target/oracles").join(format!(
            "{}-{}-{number}",
            name.replace('/', "-"),
            std::process::id()
        ));
        fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(Folder(path.to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() && std::env::var_os("FING_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}\n{printed}{errors}", output.status))
    }
}
