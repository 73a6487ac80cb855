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
    Some(Toolchain { gcc, emulator })
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
            compile.arg(path);
        }
        output(&mut compile)?;
        let program = folder.0.join("program");
        match &self.emulator {
            Some(emulator) => output(Command::new(emulator).arg(program)),
            None => output(&mut Command::new(program)),
        }
    }
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
