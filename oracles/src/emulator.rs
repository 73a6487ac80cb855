//! An emulator of four machines: memory, registers by name, "run until". Contains unsafe code.
//!
//! It is the Unicorn library, loaded at run time. There are no callbacks: a run goes from one
//! address until another, and between two runs the test looks at the registers and memory, and
//! changes them as a callee would.

mod isa;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use crate::find;

pub use isa::Isa;

/// Instructions after which a run is given up.
const MOST_INSTRUCTIONS: usize = 2_000_000;

type Handle = *mut c_void;

type Version = unsafe extern "C" fn(*mut u32, *mut u32) -> u32;
type Open = unsafe extern "C" fn(c_int, c_int, *mut Handle) -> c_int;
type Close = unsafe extern "C" fn(Handle) -> c_int;
type Error = unsafe extern "C" fn(c_int) -> *const c_char;
type Map = unsafe extern "C" fn(Handle, u64, u64, u32) -> c_int;
type Write = unsafe extern "C" fn(Handle, u64, *const c_void, u64) -> c_int;
type Read = unsafe extern "C" fn(Handle, u64, *mut c_void, u64) -> c_int;
type SetRegister = unsafe extern "C" fn(Handle, c_int, *const c_void) -> c_int;
type GetRegister = unsafe extern "C" fn(Handle, c_int, *mut c_void) -> c_int;
type Start = unsafe extern "C" fn(Handle, u64, u64, u64, usize) -> c_int;

/// The functions of the library that are used here, as its header declares them.
pub struct Library {
    version: Version,
    open: Open,
    close: Close,
    strerror: Error,
    map: Map,
    write: Write,
    read: Read,
    set: SetRegister,
    get: GetRegister,
    start: Start,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.version();
        write!(f, "Unicorn {major}.{minor}")
    }
}

/// Unicorn's library: the file in `FING_UNICORN`, else `.oracles/unicorn/lib/libunicorn.so.2`, else
/// the system's. Loaded once.
///
/// `None` if there is none, which is said on standard error.
///
/// # Panics
///
/// If there is none and `FING_REQUIRE_ORACLES=1`; if the file is no such library.
pub fn library() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    let found = LIBRARY.get_or_init(|| {
        let path = find::library("unicorn", "libunicorn.so.2");
        match Library::load(&path) {
            Ok(library) => Some(library),
            Err(why) if path.is_absolute() => panic!("oracle unicorn: {}: {why}", path.display()),
            Err(_) => None,
        }
    });
    if found.is_none() {
        find::missing(
            "oracle not found: unicorn (machine registers at the callee): no FING_UNICORN, \
             no .oracles/unicorn, no libunicorn.so.2 on this system; \
             scripts/install-oracles installs it",
        );
    }
    found.as_ref()
}

impl Library {
    fn load(path: &Path) -> Result<Library, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: a C string; Unicorn's library has no initialiser that does more than fill its own
        // tables.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err("dlopen refuses it".into());
        }
        let symbol = |name: &CStr| {
            // SAFETY: an open library and a C string.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            if found.is_null() {
                Err(format!("no {}", name.to_string_lossy()))
            } else {
                Ok(found)
            }
        };
        /// The function `$name` as a pointer of type `$ty`.
        macro_rules! function {
            ($name:literal as $ty:ty) => {{
                let found = symbol($name)?;
                // SAFETY: the library is never unloaded, and the type is the function's in
                // unicorn.h, version 2.
                unsafe { std::mem::transmute::<*mut c_void, $ty>(found) }
            }};
        }
        let library = Library {
            version: function!(c"uc_version" as Version),
            open: function!(c"uc_open" as Open),
            close: function!(c"uc_close" as Close),
            strerror: function!(c"uc_strerror" as Error),
            map: function!(c"uc_mem_map" as Map),
            write: function!(c"uc_mem_write" as Write),
            read: function!(c"uc_mem_read" as Read),
            set: function!(c"uc_reg_write" as SetRegister),
            get: function!(c"uc_reg_read" as GetRegister),
            start: function!(c"uc_emu_start" as Start),
        };
        match library.version() {
            (2, _) => Ok(library),
            (found, _) => Err(format!("major version {found}, wanted 2")),
        }
    }

    /// Major and minor version.
    pub fn version(&self) -> (u32, u32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two integers to write to.
        unsafe { (self.version)(&raw mut major, &raw mut minor) };
        (major, minor)
    }
}

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// Why the emulator stopped where it should not have, or refused something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("emulator, {step}: {reason}, at {pc:#x}")]
pub struct EmulatorError {
    step: &'static str,
    reason: String,
    /// The program counter then.
    pub pc: u64,
}

/// One emulated machine.
#[derive(Debug)]
pub struct Emulator {
    library: &'static Library,
    handle: Handle,
    isa: Isa,
}

impl Emulator {
    /// A machine with no memory, in 64-bit mode, its floating point switched on.
    ///
    /// # Errors
    ///
    /// The library has no such machine, or no memory for it.
    pub fn new(library: &'static Library, isa: Isa) -> Result<Emulator, EmulatorError> {
        let (arch, mode) = isa.unicorn();
        let mut handle = ptr::null_mut();
        // SAFETY: a place for the handle.
        let code = unsafe { (library.open)(arch, mode, &raw mut handle) };
        let emulator = Emulator {
            library,
            handle,
            isa,
        };
        emulator.check("opening", code)?;
        for &(id, bits) in isa.system() {
            let mut value = [0; 16];
            emulator.get(id, &mut value);
            let on = u128::from_ne_bytes(value) | u128::from(bits);
            emulator.set(id, &on.to_ne_bytes());
        }
        Ok(emulator)
    }

    /// Which machine.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    fn check(&self, step: &'static str, code: c_int) -> Result<(), EmulatorError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes any number, gives a static string.
        let reason = unsafe { CStr::from_ptr((self.library.strerror)(code)) };
        Err(EmulatorError {
            step,
            reason: reason.to_string_lossy().into_owned(),
            pc: if self.handle.is_null() {
                0
            } else {
                self.word(self.isa.pc())
            },
        })
    }

    /// Maps fresh zeroed memory; both numbers are multiples of 4096.
    ///
    /// # Errors
    ///
    /// Taken, or not a multiple.
    pub fn map(
        &mut self,
        address: u64,
        size: u64,
        protection: Protection,
    ) -> Result<(), EmulatorError> {
        let bits = match protection {
            Protection::Read => 1,
            Protection::ReadWrite => 3,
            // On s390x the library (2.1.4) faults when it fetches from pages that are not writable.
            Protection::ReadExecute if self.isa == Isa::S390x => 7,
            Protection::ReadExecute => 5,
        };
        // SAFETY: an open machine; memory of the emulator's own.
        let code = unsafe { (self.library.map)(self.handle, address, size, bits) };
        self.check("mapping memory", code)
    }

    /// Writes memory, whatever its protection.
    ///
    /// # Errors
    ///
    /// Not all of it is mapped.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), EmulatorError> {
        // SAFETY: an open machine; `bytes.len()` bytes are read there.
        let code = unsafe {
            (self.library.write)(
                self.handle,
                address,
                bytes.as_ptr().cast(),
                bytes.len() as u64,
            )
        };
        self.check("writing memory", code)
    }

    /// Reads memory.
    ///
    /// # Errors
    ///
    /// Not all of it is mapped.
    pub fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, EmulatorError> {
        let mut bytes = vec![0; length];
        // SAFETY: an open machine; `length` bytes are written there.
        let code = unsafe {
            (self.library.read)(
                self.handle,
                address,
                bytes.as_mut_ptr().cast(),
                length as u64,
            )
        };
        self.check("reading memory", code).map(|()| bytes)
    }

    /// A register's value, its least significant half first where it has 16 bytes.
    ///
    /// # Panics
    ///
    /// If the machine has no register of that name.
    pub fn register(&self, name: &str) -> u128 {
        let mut value = [0; 16];
        self.get(self.id(name), &mut value);
        let value = u128::from_ne_bytes(value);
        match self.isa.width(name) {
            16 => value,
            _ => value & u128::from(u64::MAX),
        }
    }

    /// The least significant 8 bytes of a register.
    ///
    /// # Panics
    ///
    /// If the machine has no register of that name.
    pub fn word(&self, name: &str) -> u64 {
        self.register(name) as u64
    }

    /// Sets a register.
    ///
    /// # Panics
    ///
    /// If the machine has no register of that name.
    pub fn set_register(&mut self, name: &str, value: u128) {
        self.set(self.id(name), &value.to_ne_bytes());
    }

    fn id(&self, name: &str) -> i32 {
        self.isa
            .id(name)
            .unwrap_or_else(|| panic!("emulator: {} has no register {name}", self.isa.name()))
    }

    fn get(&self, id: i32, value: &mut [u8; 16]) {
        // SAFETY: an open machine; none of the registers numbered in isa.rs has more than 16 bytes.
        let code = unsafe { (self.library.get)(self.handle, id, value.as_mut_ptr().cast()) };
        assert_eq!(code, 0, "emulator: reading register number {id}");
    }

    fn set(&self, id: i32, value: &[u8; 16]) {
        // SAFETY: as in `get`.
        let code = unsafe { (self.library.set)(self.handle, id, value.as_ptr().cast()) };
        assert_eq!(code, 0, "emulator: writing register number {id}");
    }

    /// Runs from `start` until the program counter is `until`; that instruction is not run.
    ///
    /// # Errors
    ///
    /// It got elsewhere: a fault, or too many instructions.
    pub fn run(&mut self, start: u64, until: u64) -> Result<(), EmulatorError> {
        // SAFETY: an open machine without callbacks: nothing but its own memory and registers is
        // reached.
        let code = unsafe { (self.library.start)(self.handle, start, until, 0, MOST_INSTRUCTIONS) };
        // On s390x the library reports an exception although it has arrived.
        if self.word(self.isa.pc()) == until {
            return Ok(());
        }
        self.check("running", code)?;
        Err(EmulatorError {
            step: "running",
            reason: format!("did not come to {until:#x} in {MOST_INSTRUCTIONS} instructions"),
            pc: self.word(self.isa.pc()),
        })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: an open machine, used by nobody else.
            unsafe { (self.library.close)(self.handle) };
        }
    }
}
