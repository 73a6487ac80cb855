//! What abi-cafe's programs call: a shared library, loaded while they run.
//!
//! A mistake of these programs' or of fing's ends the process, which abi-cafe sees.
#![expect(unsafe_code, reason = "is called by C")]

use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

use fing_stubs::entry::{CallbackOptions, Entries, SharedCallback};
use fing_stubs::{Abi, GBlock, Signature, StubCache, Type};

/// `FING_ABI_CAFE_FAULT=1` plants a mistake, for a test of the judge: floats are taken for
/// integers.
fn signature(text: &CStr) -> Signature {
    let mut text = text.to_str().expect("ASCII").to_owned();
    if std::env::var_os("FING_ABI_CAFE_FAULT").is_some_and(|value| value == "1") {
        text = text.replace("float32", "int32").replace("float64", "int64");
    }
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn abi() -> Abi {
    Abi::host_native().expect("x86-64")
}

fn size(ty: &Type) -> usize {
    abi().layout_of(ty).map_or(0, |layout| layout.size as usize)
}

/// Bytes at a multiple of 16, which every value of abi-cafe's may have.
fn block(bytes: u64) -> Vec<u128> {
    vec![0; (bytes as usize).div_ceil(16)]
}

/// Calls the function at `code` with the values at `arguments`, and stores its result.
///
/// # Safety
/// `signature` is a C string; the function is of that signature; `arguments` has an address of a
/// value for each parameter, and `result` is the address of one of the result's size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fing_call(
    signature: *const c_char,
    code: *const c_void,
    arguments: *const *const u8,
    result: *mut u8,
) {
    static STUBS: OnceLock<StubCache> = OnceLock::new();
    let stubs = STUBS.get_or_init(|| StubCache::new(Default::default()).expect("code memory"));
    // SAFETY: I5: a C string, as the caller says.
    let signature = self::signature(unsafe { CStr::from_ptr(signature) });
    let stub = stubs
        .call_stub(&signature, abi())
        .unwrap_or_else(|e| panic!("{e}"));
    let (mut from, mut to) = (block(stub.arguments().size()), block(stub.results().size()));
    for (n, (ty, &at)) in signature
        .arguments()
        .zip(stub.arguments().offsets())
        .enumerate()
    {
        // SAFETY: I5: a value of this size is at the caller's address; the block has room for it.
        unsafe {
            let value = arguments.add(n).read();
            value.copy_to_nonoverlapping(from.as_mut_ptr().cast::<u8>().add(at as usize), size(ty));
        }
    }
    // SAFETY: I5: a function of this signature, as the caller says, and two blocks for it.
    unsafe {
        let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
        stub.call(code.expose_provenance(), 0, from, to, &GBlock::zeroed())
            .unwrap_or_else(|e| panic!("{e}"));
    }
    if let [ty] = signature.results() {
        // SAFETY: I5: the caller's result is of this size.
        unsafe {
            to.as_ptr()
                .cast::<u8>()
                .copy_to_nonoverlapping(result, size(ty))
        };
    }
}

/// Calls a function with the addresses of its arguments, and of its result.
type Handler = unsafe extern "C" fn(*const *const u8, *mut u8);

/// The address of a function of the signature that calls `handler`; it lives as long as the
/// process.
///
/// # Safety `signature` is a C string; `handler` reads values of its parameters' types, and writes
/// one of its result's type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fing_entry(signature: *const c_char, handler: Handler) -> *const c_void {
    static ENTRIES: OnceLock<Entries> = OnceLock::new();
    let entries = ENTRIES.get_or_init(|| Entries::new(Default::default()).expect("code memory"));
    // SAFETY: I5: a C string, as the caller says.
    let signature = self::signature(unsafe { CStr::from_ptr(signature) });
    let point = entries
        .point(&signature, abi())
        .unwrap_or_else(|e| panic!("{e}"));
    let sizes: Vec<usize> = signature.arguments().map(size).collect();
    let closure = move |call: &mut fing_stubs::entry::Call<'_>| {
        let offsets = call.argument_layout().offsets().iter().zip(&sizes);
        let values: Vec<_> = offsets
            .map(|(&at, &size)| call.arguments()[at as usize..at as usize + size].as_ptr())
            .collect();
        // SAFETY: I5: values of the signature's types, and room for its result.
        unsafe { handler(values.as_ptr(), call.results().as_mut_ptr()) };
    };
    let callback = SharedCallback::at(&point, CallbackOptions::default(), closure);
    let callback = callback.unwrap_or_else(|e| panic!("{e}"));
    let address = callback.address();
    std::mem::forget(callback);
    std::ptr::with_exposed_provenance(address)
}
