//! One call of any signature, with arguments and results in memory, as reflection makes it.
#![expect(unsafe_code, reason = "enters stubs")]

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use crate::block::BlockLayout;
use crate::quote::short;
use crate::stub::Direct;
use crate::{GBlock, Record, Signature, Stub, StubKey};

/// Calls functions of one signature and ABI. Made by
/// [`StubCache::call_stub`](crate::StubCache::call_stub).
///
/// Arguments and results are [blocks](BlockLayout): the values one after another as Go, or under a
/// native ABI C, lays out the fields of a struct, whatever registers and stack places the ABI has
/// for them. A method's
/// receiver is the first argument, a variadic parameter is the slice it is.
///
/// ```
/// use fing_stubs::{Abi, GBlock, StubCache};
/// extern "C" fn scale(factor: f32, count: i8, big: &i64) -> f64 {
///     f64::from(factor) * f64::from(count) + *big as f64
/// }
///
/// let cache = StubCache::new(Default::default())?;
/// let signature = "func(float32, int8, *int64) float64".parse()?;
/// let stub = cache.call_stub(&signature, Abi::host_native()?)?;
/// assert_eq!((stub.arguments().offsets(), stub.results().size()), (&[0, 4, 8][..], 8));
///
/// #[repr(C)]
/// struct Arguments<'a>(f32, i8, &'a i64);
/// let (arguments, mut result) = (Arguments(0.5, -6, &40), 0f64);
/// // SAFETY: `scale` has this signature, and both blocks are laid out as it says.
/// unsafe {
///     let (from, to) = ((&raw const arguments).cast(), (&raw mut result).cast());
///     stub.call(scale as usize, 0, from, to, &GBlock::zeroed())?;
/// }
/// assert_eq!(result, 37.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CallStub {
    stub: Arc<Stub>,
    /// The stub's code, if nothing has to be done but to call it.
    direct: Option<Direct>,
    arguments: BlockLayout,
    results: BlockLayout,
}

/// Why a call was not made. Always the caller's mistake; nothing has been read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A block lies where its values may not.
    #[error(
        "call by {}: the block of {block} is at {found:#x}, wanted a multiple of {wanted}",
        short(.key)
    )]
    Misaligned {
        /// The stub's key.
        key: String,
        /// `arguments` or `results`.
        block: &'static str,
        /// Its address.
        found: usize,
        /// Its alignment.
        wanted: u64,
    },
    /// A block is not of its signature's size.
    #[error("call by {}: the block of {block} is {found} bytes, wanted {wanted}", short(.key))]
    Size {
        /// The stub's key.
        key: String,
        /// `arguments` or `results`.
        block: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The size the signature wants.
        wanted: u64,
    },
}

impl CallStub {
    /// `stub` is of the block key of `signature`.
    pub(crate) fn new(stub: Arc<Stub>, signature: &Signature) -> CallStub {
        let abi = stub.key().abi();
        CallStub {
            arguments: BlockLayout::under(abi, signature.arguments()),
            results: BlockLayout::under(abi, signature.results()),
            direct: stub.direct(),
            stub,
        }
    }

    /// Layout of the block of arguments.
    pub fn arguments(&self) -> &BlockLayout {
        &self.arguments
    }

    /// Layout of the block of results.
    pub fn results(&self) -> &BlockLayout {
        &self.results
    }

    /// The key.
    pub fn key(&self) -> &StubKey {
        self.stub.key()
    }

    /// The stub, to call many records in one go: word 0 of each is the address of its arguments,
    /// word 1 of its results.
    pub fn stub(&self) -> &Arc<Stub> {
        &self.stub
    }

    /// Calls the function at `code`. Under the Go ABIs `context` is its closure context; `g` stands
    /// in for the goroutine.
    ///
    /// If the callee unwinds, the panic passes through and the results are untouched.
    ///
    /// # Errors
    /// A block at an address that its values may not have. A block without bytes may be anywhere,
    /// even at null.
    ///
    /// # Safety
    /// * `code` is the address of a function of this signature and ABI, and `context` what it
    ///   expects;
    /// * `arguments` points to a whole block of values it may be given, `results` to a block that
    ///   may be written;
    /// * the stack has room for the key's frame and the callee's needs;
    /// * no exception but a Rust panic leaves the callee, and none if its ABI can't unwind.
    #[inline]
    pub unsafe fn call(
        &self,
        code: usize,
        context: usize,
        arguments: *const u8,
        results: *mut u8,
        g: &GBlock,
    ) -> Result<(), CallError> {
        if !self.arguments.may_lie_at(arguments.addr()) || !self.results.may_lie_at(results.addr())
        {
            return Err(self.misaligned(arguments.addr(), results.addr()));
        }
        // SAFETY: I5, I6: the caller's promise, and both blocks are where they may be.
        unsafe { self.call_placed(code, context, arguments, results, g) };
        Ok(())
    }

    /// [`CallStub::call`] with blocks that are where their values may be.
    ///
    /// # Safety
    /// As [`CallStub::call`].
    #[inline(always)]
    pub(crate) unsafe fn call_placed(
        &self,
        code: usize,
        context: usize,
        arguments: *const u8,
        results: *mut u8,
        g: &GBlock,
    ) {
        let words = [
            arguments.expose_provenance() as u64,
            results.expose_provenance() as u64,
        ];
        let record = Record {
            code,
            context,
            words,
        };
        let progress = AtomicPtr::new(std::ptr::null_mut());
        let first = &raw const record;
        let end = AtomicPtr::new(first.wrapping_add(1).cast_mut());
        // SAFETY: I5, I6: one record, alive for the whole call; the rest is the caller's promise.
        // I4: `self` holds the stub whose code `direct` is.
        unsafe {
            match &self.direct {
                Some(direct) if direct.is_surely_own() => direct.run(first, &end, &progress, g),
                _ => self.stub.run(first, &end, &progress, g),
            }
        }
    }

    /// The error of a call with blocks at these addresses, of which at least one may not be there.
    #[cold]
    fn misaligned(&self, arguments: usize, results: usize) -> CallError {
        let (block, layout, found) = match self.arguments.may_lie_at(arguments) {
            true => ("results", &self.results, results),
            false => ("arguments", &self.arguments, arguments),
        };
        CallError::Misaligned {
            key: self.key().to_string(),
            block,
            found,
            wanted: layout.align(),
        }
    }

    /// [`CallStub::call`] with blocks whose sizes are checked as well.
    ///
    /// # Errors
    /// A block at the wrong address or of the wrong size.
    ///
    /// # Safety
    /// As [`CallStub::call`], but for the blocks' sizes.
    pub unsafe fn call_bytes(
        &self,
        code: usize,
        context: usize,
        arguments: &[u8],
        results: &mut [u8],
        g: &GBlock,
    ) -> Result<(), CallError> {
        for (block, layout, found) in [
            ("arguments", &self.arguments, arguments.len()),
            ("results", &self.results, results.len()),
        ] {
            let wanted = layout.size();
            if found as u64 != wanted {
                return Err(CallError::Size {
                    key: self.key().to_string(),
                    block,
                    found,
                    wanted,
                });
            }
        }
        // SAFETY: I5: both blocks are borrowed and of their full size; the rest is the caller's
        // promise.
        unsafe { self.call(code, context, arguments.as_ptr(), results.as_mut_ptr(), g) }
    }
}
