//! Shared libraries that gcc makes for a test, in its process, on every host.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;

use fing_oracles::tool;

/// The linker refuses files whose code would have to be changed when it is loaded.
pub(crate) const CODE_STAYS: &str = "-Wl,-z,text";

/// Makes a shared library for this host of files of these names with these bytes, C or object
/// files, and opens it for the rest of the process's life: what is returned gives a symbol's
/// address. `options`: more of gcc's.
///
/// `None` if gcc is not on this machine, which has been said aloud.
pub(crate) fn open(
    name: &str,
    options: &[&str],
    files: &[(&str, &[u8])],
) -> Option<impl Fn(&str) -> usize + use<>> {
    // Under an emulator too, the compiler is the one of the machine around it.
    let gcc = match std::env::consts::ARCH {
        "x86_64" => "gcc".to_owned(),
        arch => format!("{arch}-linux-gnu-gcc"),
    };
    let gcc = tool(&gcc, "what gcc compiles and links")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let so = folder.join("library.so");
    let mut command = Command::new(gcc);
    command
        .args(["-O1", "-w", "-shared", "-fPIC", "-funwind-tables"])
        .args(options)
        .arg("-o")
        .arg(&so);
    for (file, bytes) in files {
        let input = folder.join(file);
        std::fs::write(&input, bytes).unwrap();
        command.arg(&input);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = CString::new(so.to_str().unwrap()).unwrap();
    // SAFETY: a library of plain functions, which has no initializers.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{}", so.display());
    std::fs::remove_dir_all(folder).unwrap();
    Some(move |name: &str| {
        let name = CString::new(name).unwrap();
        // SAFETY: an open library and a C string.
        let found = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!found.is_null());
        found.expose_provenance()
    })
}
