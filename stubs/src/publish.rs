//! Publishing a compiled stub on this host, through cranelift-jit.
//!
//! One `JITModule` a stub, dropped right after: it relocates, the arena keeps the bytes. The module sees one address
//! for writing and running, which is the arena's writable alias; a stub's only relocation is its call to the veneer in
//! the same arena, so the distance is the same in both aliases.
#![expect(
    unsafe_code,
    reason = "the provider trait has an unsafe method; its body is empty"
)]

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{FuncId, Module, ModuleReloc, ModuleResult, default_libcall_names};

use crate::code::{Arena, CodeSlice};
use crate::compile::{Compiled, Compiler};
use crate::lower::{STUB_NAME, VENEER_NAME};
use crate::unwind::CallState;
use crate::{StubError, StubKey};

/// A published stub: the slices keep its bytes, `entry` is where it begins.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) entry: usize,
    pub(crate) slices: Vec<CodeSlice>,
}

/// Hands out the arena's bytes to one module.
struct Provider {
    arena: Arc<Arena>,
    /// How unwinders see the code of each function, in the order of their definition.
    states: VecDeque<Option<CallState>>,
    /// Bytes of the stub, and of these the ones that run over and over.
    stub: (usize, Range<usize>),
    slices: Arc<Mutex<Vec<CodeSlice>>>,
    refusal: Arc<Mutex<Option<StubError>>>,
}

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, _align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if !matches!(kind, JITMemoryKind::Executable) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a stub has no data",
            ));
        }
        let state = self.states.pop_front().flatten();
        let (bytes, hot) = &self.stub;
        let hot = if size == *bytes { hot } else { &(0..0) };
        match self.arena.allocate(size, state.as_ref(), hot) {
            Ok(slice) => {
                let address = slice.writable();
                self.slices
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(slice);
                Ok(address)
            }
            Err(error) => {
                let message = error.to_string();
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::other(message))
            }
        }
    }

    /// The slices free themselves.
    unsafe fn free_memory(&mut self) {}

    fn finalize(&mut self, _branch_protection: BranchProtection) -> ModuleResult<()> {
        self.arena.publish();
        Ok(())
    }
}

/// Puts a stub and its veneer into `arena`.
pub(crate) fn publish(
    arena: &Arc<Arena>,
    compiler: &Compiler,
    key: &StubKey,
    compiled: &Compiled,
) -> Result<Published, StubError> {
    let slices = Arc::new(Mutex::default());
    let refusal = Arc::new(Mutex::new(None));
    let mut builder = JITBuilder::with_isa(compiler.isa().clone(), default_libcall_names());
    builder.memory_provider(Box::new(Provider {
        arena: arena.clone(),
        states: states(compiled),
        stub: (compiled.code.len(), compiled.hot.clone()),
        slices: slices.clone(),
        refusal: refusal.clone(),
    }));
    let mut module = JITModule::new(builder);
    let address = define(&mut module, compiled).map_err(|detail| {
        let refused = refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        refused.unwrap_or_else(|| StubError::Internal {
            key: key.to_string(),
            step: "publishing",
            detail,
        })
    })?;
    drop(module);
    let slices = std::mem::take(&mut *slices.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Published {
        entry: address + arena.distance(),
        slices,
    })
}

/// Veneer, if there is one, and stub.
fn states(compiled: &Compiled) -> VecDeque<Option<CallState>> {
    let veneer = compiled
        .veneer
        .iter()
        .map(|_| compiled.veneer_state.clone());
    veneer.chain([compiled.call_state.clone()]).collect()
}

/// Defines veneer and stub under the names that [`lower`](crate::lower) gave them; returns the writable address.
fn define(module: &mut JITModule, compiled: &Compiled) -> Result<usize, String> {
    let text = |e: cranelift_module::ModuleError| e.to_string();
    let signature = &compiled.function.signature;
    let veneer = module.declare_anonymous_function(signature).map_err(text)?;
    let stub = module.declare_anonymous_function(signature).map_err(text)?;
    if (veneer, stub)
        != (
            FuncId::from_u32(VENEER_NAME.index),
            FuncId::from_u32(STUB_NAME.index),
        )
    {
        return Err(format!(
            "cranelift-module numbers functions {veneer}, {stub}; wanted 0, 1"
        ));
    }
    if let Some(veneer_code) = &compiled.veneer {
        module
            .define_function_bytes(veneer, 1, &veneer_code.bytes, &[])
            .map_err(text)?;
    }
    let relocations: Vec<ModuleReloc> = compiled
        .relocations
        .iter()
        .map(|relocation| ModuleReloc::from_mach_reloc(relocation, &compiled.function, stub))
        .collect();
    module
        .define_function_bytes(
            stub,
            compiled.alignment.into(),
            &compiled.code,
            &relocations,
        )
        .map_err(text)?;
    module.finalize_definitions().map_err(text)?;
    Ok(module.get_finalized_function(stub).addr())
}
