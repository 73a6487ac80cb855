//! A key to the bytes of its veneer and body, for any machine Cranelift has in this build.
#![forbid(unsafe_code)]

use std::fmt;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::{Context, FinalizedMachReloc};

use super::lower::{direct, lower, through_slot};
use super::moves::EntryKey;
use super::veneer::{self, Plan, Way};
use crate::compile::unwinding;
use crate::lock::none_held;
use crate::unwind::CallState;
use crate::veneer::Encoded;
use crate::{Compiler, StubError};

/// The code that entries of one key share. Its entries are written separately, one for each slot.
pub struct CompiledEntry {
    key: EntryKey,
    /// Its last word is for the body's address.
    pub(crate) veneer: Encoded,
    /// With its landing pad; empty if the veneer calls the handler itself.
    pub(crate) body: Vec<u8>,
    pub(crate) body_state: Option<CallState>,
    pub(crate) veneer_state: Option<CallState>,
    clif: String,
    listing: Option<String>,
}

impl fmt::Debug for CompiledEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledEntry")
            .field("key", &self.key)
            .field("veneer", &self.veneer.bytes.len())
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl CompiledEntry {
    /// The key.
    pub fn key(&self) -> &EntryKey {
        &self.key
    }

    /// The veneer's instructions, by offset.
    pub fn veneer_listing(&self) -> &[(usize, String)] {
        &self.veneer.listing
    }

    /// The body as CLIF, as it was given to the compiler. It is in the [image](Self::image) unless
    /// it would move nothing and the veneer calls the handler itself.
    pub fn clif(&self) -> &str {
        &self.clif
    }

    /// Cranelift's listing of the body, if it was asked for.
    pub fn listing(&self) -> Option<&str> {
        self.listing.as_deref()
    }

    /// One entry with its veneer and body, to be run at `address`, a multiple of 16: entered at the
    /// first byte by the caller's convention. The slot is three words at `slot`: the address of the
    /// veneer ([`CompiledEntry::veneer_offset`] from `address`), any word, and the address of a
    /// handler of the machine's C convention. It is called with the slot's address, its second
    /// word, the addresses of the block of arguments and of a zeroed block for the results, and a
    /// number.
    pub fn image(&self, address: u64, slot: u64) -> Vec<u8> {
        let arch = self.key.abi().arch();
        let mut image = veneer::entry(self.key.abi(), slot);
        image.resize(self.veneer_offset(), 0);
        let body = (image.len() + self.veneer.bytes.len()).next_multiple_of(16);
        let mut veneer = self.veneer.bytes.clone();
        veneer::aim(&mut veneer, arch, address + body as u64);
        image.extend(veneer);
        image.resize(body, 0);
        image.extend_from_slice(&self.body);
        image
    }

    /// Where the veneer begins in the [image](CompiledEntry::image).
    pub fn veneer_offset(&self) -> usize {
        veneer::entry_bytes(self.key.abi()).next_multiple_of(16)
    }

    /// Bytes of the veneer; its last word is the body's address, if there is one. It begins at the
    /// next multiple of 16 in the [image](CompiledEntry::image).
    pub fn veneer_bytes(&self) -> usize {
        self.veneer.bytes.len()
    }

    /// Where the slot's address stands in an entry: in its last word.
    pub fn entry_bytes(&self) -> usize {
        veneer::entry_bytes(self.key.abi())
    }
}

/// Compiles the code that entries of `key` share; with `listing`, keeps Cranelift's listing of the
/// body. `number` is what handlers are told.
///
/// # Errors
/// The key is for another machine, or Cranelift failed (our bug).
pub fn compile_entry(
    compiler: &Compiler,
    key: &EntryKey,
    number: u64,
    listing: bool,
) -> Result<CompiledEntry, StubError> {
    check_machine(compiler, key)?;
    let arch = key.abi().arch();
    let mut plan = Plan::of(key);
    if let (true, Some(direct)) = (veneer::is_direct(arch), direct(key, &plan, number)) {
        plan.way = Way::Handler(direct);
    }
    let isa = compiler.isa();
    let call = through_slot(isa.default_call_conv(), number);
    let function = lower(compiler, key, &plan, call);
    let clif = function.display().to_string();
    let mut context = Context::for_function(function);
    context.set_disasm(listing);
    let parts = Parts::new(isa, key, &plan, &mut context)?;
    if !parts.relocations.is_empty() {
        let detail = format!("{:?}: wanted no relocation", parts.relocations);
        return Err(internal(key, "compiling", detail));
    }
    // A body that nothing calls is compiled as well: a veneer's call is told to unwinders in the
    // terms of the body's.
    let body = match plan.way {
        Way::Handler(_) => Vec::new(),
        _ => [veneer::landing_pad(arch), &parts.body].concat(),
    };
    Ok(CompiledEntry {
        key: key.clone(),
        veneer: parts.veneer,
        body,
        body_state: parts.body_state,
        veneer_state: parts.veneer_state,
        clif,
        listing: parts.listing,
    })
}

pub(crate) fn check_machine(compiler: &Compiler, key: &EntryKey) -> Result<(), StubError> {
    let arch = key.abi().arch();
    if compiler.arch() == Some(arch) {
        return Ok(());
    }
    Err(StubError::WrongHost {
        key: key.to_string(),
        wanted: arch.to_string(),
        found: compiler.triple().to_string(),
    })
}

pub(crate) fn internal(key: &EntryKey, step: &'static str, detail: String) -> StubError {
    StubError::Internal {
        key: key.to_string(),
        step,
        detail,
    }
}

/// A veneer, and a body as Cranelift compiles it.
pub(crate) struct Parts {
    pub(crate) veneer: Encoded,
    pub(crate) body: Vec<u8>,
    pub(crate) relocations: Vec<FinalizedMachReloc>,
    pub(crate) body_state: Option<CallState>,
    pub(crate) veneer_state: Option<CallState>,
    listing: Option<String>,
}

impl Parts {
    pub(crate) fn new(
        isa: &OwnedTargetIsa,
        key: &EntryKey,
        plan: &Plan,
        context: &mut Context,
    ) -> Result<Parts, StubError> {
        // Cranelift writes log records.
        none_held();
        if let Err(e) = context.compile(isa.as_ref(), &mut ControlPlane::default()) {
            let detail = format!("{:?}\n{}", e.inner, e.func.display());
            return Err(internal(key, "compiling", detail));
        }
        let Some(code) = context.take_compiled_code() else {
            return Err(internal(key, "compiling", "no code".to_owned()));
        };
        let described = unwinding(isa.as_ref(), &code);
        let (body_state, _) = described
            .map_err(|detail| internal(key, "describing the frame to unwinders", detail))?;
        let veneer = veneer::encode(plan).map_err(|detail| internal(key, "encoding", detail))?;
        let veneer_state = body_state
            .as_ref()
            .map(|state| veneer::call_state(key.abi().arch(), state));
        Ok(Parts {
            veneer,
            body: code.code_buffer().to_vec(),
            relocations: code.buffer.relocs().to_vec(),
            body_state,
            veneer_state,
            listing: code.vcode,
        })
    }
}
