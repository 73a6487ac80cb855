//! The JIT interface of gdb (which lldb has too): a list of object files in memory, and a function
//! that the debugger has a breakpoint in.
//!
//! Both names are the whole process's and the protocol has no lock. Ours serializes this crate's
//! caches. The symbols are weak, so that a program which links another code generator with the same
//! two has one list, which both use.
#![expect(unsafe_code, reason = "a linked list that a debugger reads")]

use std::sync::Mutex;

use crate::lock::lock;

// Rust has no weak definitions; the assembler has.
#[cfg(target_os = "linux")]
std::arch::global_asm!(
    ".pushsection .text.fing_jit_debug, \"ax\", %progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, %function",
    "__jit_debug_register_code:",
    // An empty function: gdb stops here.
    #[cfg(target_arch = "s390x")]
    "br %r14",
    #[cfg(not(target_arch = "s390x"))]
    "ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.fing_jit_debug, \"aw\", %progbits",
    ".balign 8",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, %object",
    "__jit_debug_descriptor:",
    // The version, the action, the entry it is about, the list.
    ".4byte 1",
    ".4byte 0",
    ".8byte 0",
    ".8byte 0",
    ".size __jit_debug_descriptor, 24",
    ".popsection",
);

/// The layout that the protocol prescribes.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    object: *const u8,
    bytes: u64,
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const NOTHING: u32 = 0;
const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    static mut __jit_debug_descriptor: Descriptor;
    fn __jit_debug_register_code();
}

static LIST: Mutex<()> = Mutex::new(());

/// An object file that debuggers see until this value is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    /// The address of its `Entry`.
    entry: usize,
    process: u32,
}

#[cfg(target_os = "linux")]
impl Registered {
    pub(super) fn new(object: Box<[u8]>) -> Registered {
        let bytes = object.len() as u64;
        let entry = Box::into_raw(Box::new(Entry {
            next: std::ptr::null_mut(),
            previous: std::ptr::null_mut(),
            object: Box::into_raw(object).cast(),
            bytes,
        }));
        let _list = lock(&LIST);
        // SAFETY: I19: the list's entries are whole, and under the lock nobody of ours changes it.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            (*entry).next = (*list).first;
            if let Some(next) = (*entry).next.as_mut() {
                next.previous = entry;
            }
            (*list).first = entry;
            tell(list, REGISTER, entry);
        }
        Registered {
            entry: entry.expose_provenance(),
            process: std::process::id(),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Registered {
    fn drop(&mut self) {
        // A forked child has a copy of the list, whose lock another thread may have held.
        if self.process != std::process::id() {
            return;
        }
        let entry = std::ptr::with_exposed_provenance_mut::<Entry>(self.entry);
        let _list = lock(&LIST);
        // SAFETY: I19: this entry was linked by `new` and is unlinked here once, under the lock;
        // the debugger reads it only inside of `tell`. Its object was leaked by `new`.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            let Entry { next, previous, .. } = *entry;
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => (*list).first = next,
            }
            if let Some(next) = next.as_mut() {
                next.previous = previous;
            }
            tell(list, UNREGISTER, entry);
            let entry = Box::from_raw(entry);
            let object =
                std::ptr::slice_from_raw_parts_mut(entry.object.cast_mut(), entry.bytes as usize);
            drop(Box::from_raw(object));
        }
    }
}

/// Has the debugger look at one entry.
///
/// # Safety
/// The list and the entry are whole, and the list's lock is held.
#[cfg(target_os = "linux")]
unsafe fn tell(list: *mut Descriptor, action: u32, entry: *mut Entry) {
    // SAFETY: I19: the caller's promise; the function is empty.
    unsafe {
        (*list).action = action;
        (*list).relevant = entry;
        __jit_debug_register_code();
        (*list).action = NOTHING;
        (*list).relevant = std::ptr::null_mut();
    }
}

#[cfg(not(target_os = "linux"))]
impl Registered {
    /// There is no generated code to register.
    pub(super) fn new(_object: Box<[u8]>) -> Registered {
        Registered {
            entry: 0,
            process: 0,
        }
    }
}
