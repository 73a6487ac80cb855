//! The walk.
#![expect(unsafe_code, reason = "reads the frames of stacks")]

use std::sync::atomic::Ordering::Relaxed;

use super::error::WalkError;
use super::maps::{StackMaps, Tables};
use super::stack::ExitRecord;

/// Where things lie, in bytes from a frame pointer of Cranelift's. The frame pointer of the caller
/// is at 0.
#[derive(Debug)]
pub(super) struct Frame {
    /// The return address.
    pc: usize,
    /// The caller's stack pointer when the call is over.
    sp: usize,
}

/// Frames of this machine; `None` if that is not known.
pub(super) const FRAME: Option<Frame> = if cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)) {
    Some(Frame { pc: 8, sp: 16 })
} else if cfg!(target_arch = "s390x") {
    // Cranelift's frame pointer is the back chain: the caller's stack pointer, where the callee has
    // saved register 14 in its slot.
    Some(Frame { pc: 112, sp: 0 })
} else {
    None
};

/// What a walk has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walked {
    /// Frames of registered code.
    pub frames: usize,
    /// References in them, those that are 0 included.
    pub references: usize,
}

impl StackMaps {
    /// Calls `visit` with each word that a stack map says is a reference, in the frames of all
    /// stacks. `visit` must not use these stack maps.
    ///
    /// # Errors
    /// A frame's caller is not registered and should be. Not all frames may have been visited then.
    ///
    /// # Safety
    /// No code that is registered runs, on any stack: its frames wait for exit stubs, and stay as
    /// they are meanwhile.
    pub unsafe fn for_each_reference(
        &self,
        mut visit: impl FnMut(usize),
    ) -> Result<Walked, WalkError> {
        let Some(frame) = FRAME else {
            // No code was registered.
            return Ok(Walked::default());
        };
        let (tables, mut walked) = (self.0.tables(), Walked::default());
        for stack in tables.stacks.values() {
            let mut at = stack.load(Relaxed);
            while at != 0 {
                // SAFETY: I31: the address of a record in the frame of an exit stub that waits.
                let record = unsafe { *std::ptr::with_exposed_provenance::<ExitRecord>(at) };
                let exit = record.frame_pointer;
                // SAFETY: I31, as the caller promises.
                unsafe { run(&tables, &frame, exit, &mut walked, &mut visit) }?;
                at = record.previous;
            }
        }
        Ok(walked)
    }
}

/// Visits the frames from an exit stub's caller up to the first that other code has called.
///
/// # Safety
/// `fp` is the frame pointer of an exit stub that waits for the host.
unsafe fn run(
    tables: &Tables,
    frame: &Frame,
    mut fp: usize,
    walked: &mut Walked,
    visit: &mut impl FnMut(usize),
) -> Result<(), WalkError> {
    // SAFETY: I31: what is read lies in the frame of the exit stub, or of registered code, or is
    // what the calls between them have saved.
    let word = |at: usize| unsafe { *std::ptr::with_exposed_provenance::<usize>(at) };
    let mut callee = None;
    loop {
        let pc = word(fp + frame.pc);
        let Some((range, code)) = tables.find(pc) else {
            return match callee {
                None => Err(WalkError::UnknownExit { found: pc }),
                Some((code, super::Callers::Registered)) => {
                    Err(WalkError::UnknownCaller { code, found: pc })
                }
                Some((_, super::Callers::Any)) => Ok(()),
            };
        };
        walked.frames += 1;
        for slot in code.slots(pc - range.start) {
            walked.references += 1;
            visit(word(fp + frame.sp + *slot as usize));
        }
        fp = word(fp);
        callee = Some((range, code.callers));
    }
}
