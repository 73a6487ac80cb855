//! Finalizers and cleanups as functions of Go's ABI with N integer argument registers, which is
//! what `--int-regs N` asks for.
//!
//! fing's call stub passes the arguments by that ABI, an *entry* takes them from there into a block
//! of memory, and generated code calls the closure with what is in the block
//! ([`Unit::Block`](crate::lower)). An entry does not see the register in which Go's callers pass
//! a closure, so each closure has an entry of its own.
#![expect(unsafe_code, reason = "states which functions fing is to call")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::stubs::entry::{Call, CallbackOptions, Entries, SharedCallback};
use fing::stubs::signature::Type;
use fing::{Abi, Arch, CleanupFn, FinalizerFn, Signature};

use super::finalize::{Finalizer, in_goroutine, run_cleanup};
use super::{Vm, message};

pub(super) struct Go {
    abi: Abi,
    entries: Entries,
}

/// How many calls have come through entries.
pub(super) static CALLS: AtomicU64 = AtomicU64::new(0);

impl Go {
    pub(super) fn new(int_regs: usize) -> Result<Go, String> {
        let arch = Arch::host().ok_or("--int-regs: this machine has none of Go's ABIs")?;
        let abi = Abi::go(arch).with_int_arg_regs(int_regs);
        Ok(Go {
            abi: abi.map_err(|error| format!("--int-regs {int_regs}: {error}"))?,
            entries: Entries::new(Default::default()).map_err(message)?,
        })
    }

    /// An address that is a function of this signature.
    fn entry(
        &self,
        signature: &Signature,
        run: impl Fn(&mut Call<'_>) + Send + Sync + 'static,
    ) -> Result<Arc<SharedCallback>, String> {
        let point = self.entries.point(signature, self.abi).map_err(message)?;
        let counted = move |call: &mut Call<'_>| {
            CALLS.fetch_add(1, Ordering::Relaxed);
            run(call);
        };
        let entry = SharedCallback::at(&point, CallbackOptions::default(), counted);
        Ok(Arc::new(entry.map_err(message)?))
    }

    /// The function of all cleanups: its argument is the closure.
    pub(super) fn cleanup(&self, signature: &Signature) -> Result<CleanupFn, String> {
        let entry = self.entry(signature, |call| match call.argument(0) {
            Ok(closure) => run_cleanup(closure),
            Err(error) => call.refuse(message(error)),
        })?;
        let code = entry.address() as *const ();
        let builder = CleanupFn::builder(signature.clone(), self.abi);
        // SAFETY: M5: an entry for callers of this signature and ABI, called with closures only,
        // which is there as long as the function.
        Ok(unsafe { builder.keep_alive(entry).at(code) })
    }

    /// The function of a finalizer. The registration's context keeps the closure until the call
    /// has returned.
    pub(super) fn finalizer(
        &self,
        vm: &Vm,
        signature: Signature,
        of: Finalizer,
    ) -> Result<FinalizerFn, String> {
        let block = vm.code.blocks.get(&of.function).copied();
        let block = block.ok_or("no code calls the finalizer by blocks")?;
        let entry = self.entry(&signature, move |call| {
            let arguments = call.arguments().as_ptr().expose_provenance();
            let results = call.results().as_mut_ptr().expose_provenance();
            in_goroutine(|ctx| ctx.call_code(block, of.closure, [arguments, results, 0, 0]));
        })?;
        let mut builder = FinalizerFn::builder(signature, self.abi);
        if let Some(word) = of.word {
            builder = builder.interface_word(word);
        }
        let builder = builder.context_object(Type::unsafe_pointer());
        let code = entry.address() as *const ();
        // SAFETY: M5: an entry for callers of this signature and ABI, of a closure whose parameter
        // the type of the object was checked for, which is there as long as the function.
        Ok(unsafe { builder.keep_alive(entry).at(code) })
    }
}
