//! Callbacks of functions that all who ask for the same one share, as Go's do.
#![expect(unsafe_code, reason = "a function at an address is taken on trust")]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::callback::{Function, SharedCallback};
use super::entries::EntryPoint;
use super::options::CallbackOptions;
use crate::inward::EntryKey;
use crate::lock::lock;
use crate::{Signature, StubError};

/// What makes two callbacks of functions one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    key: EntryKey,
    signature: Signature,
    function: Function,
    options: CallbackOptions,
}

/// The functions that have a callback.
#[derive(Default)]
pub(super) struct Functions(Mutex<HashMap<Identity, Weak<Shared>>>);

struct Shared {
    callback: SharedCallback,
    identity: Identity,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let entries = &self.callback.point().0.entries;
        if entries.stubs.gate().is_forked() {
            // A thread that is not here may have held the lock.
            return;
        }
        let mut known = lock(&entries.functions.0);
        // Another one may have been made since the last owner of this one went.
        let is_own = known
            .get(&self.identity)
            .is_some_and(|there| there.strong_count() == 0);
        if is_own {
            known.remove(&self.identity);
        }
    }
}

/// One of the owners of a callback that calls a function. Whoever asks for the same function with
/// the same callers and options gets another owner of the same address; it is freed when the last
/// one is dropped. Every thread may call it.
///
/// Asking again costs a look-up, and makes neither code nor slot: for a VM that passes the same few
/// functions to foreign code over and over.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use fing_stubs::Abi;
/// use fing_stubs::entry::{CallbackOptions, Entries, Function, FunctionCallback};
///
/// extern "C" fn twice(n: u64) -> u64 {
///     2 * n
/// }
/// let entries = Entries::new(Default::default())?;
/// let point = entries.point(&"func(uint64) uint64".parse()?, Abi::system_v())?;
/// let function = Function { abi: Abi::system_v(), code: twice as *const () as usize, context: 0 };
/// let ask = || {
///     // SAFETY: `twice` is a function of this signature and convention.
///     unsafe { FunctionCallback::get(&point, CallbackOptions::default(), function) }
/// };
/// let (one, other) = (ask()?, ask()?);
/// assert_eq!((one.address(), entries.stats().alive), (other.address(), 1));
/// drop((one, other));
/// assert_eq!(entries.stats().alive, 0);
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
#[derive(Clone)]
pub struct FunctionCallback(Arc<Shared>);

impl fmt::Debug for FunctionCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FunctionCallback")
            .field(&self.0.callback)
            .finish()
    }
}

impl FunctionCallback {
    /// The callback of this function for callers of `point`, which is made if there is none.
    ///
    /// Two are the same if signature, convention, address, context and options are. A Rust function
    /// may have more than one address.
    ///
    /// # Errors
    /// As [`Callback::function`](super::Callback::function).
    ///
    /// # Safety
    /// As [`SharedCallback::function`], until the last owner is dropped.
    #[track_caller]
    pub unsafe fn get(
        point: &EntryPoint,
        options: CallbackOptions,
        function: Function,
    ) -> Result<FunctionCallback, StubError> {
        let entries = &point.0.entries;
        StubError::check_fork(entries.stubs.gate())?;
        let identity = Identity {
            key: point.key().clone(),
            signature: point.signature().clone(),
            function,
            options,
        };
        let known = || lock(&entries.functions.0).get(&identity)?.upgrade();
        if let Some(shared) = known() {
            return Ok(FunctionCallback(shared));
        }
        // SAFETY: I5: the caller's promise.
        let callback =
            unsafe { SharedCallback::function(point, identity.options.clone(), function)? };
        let made = Arc::new(Shared { callback, identity });
        // If another thread has made the same meanwhile, this one is dropped behind the lock.
        let first = {
            let mut known = lock(&entries.functions.0);
            let there = known.entry(made.identity.clone()).or_default();
            match there.upgrade() {
                Some(first) => first,
                None => {
                    *there = Arc::downgrade(&made);
                    made.clone()
                }
            }
        };
        Ok(FunctionCallback(first))
    }

    /// What foreign code calls: see [`SharedCallback::address`].
    pub fn address(&self) -> usize {
        self.0.callback.address()
    }

    /// The callers it is for.
    pub fn point(&self) -> &EntryPoint {
        self.0.callback.point()
    }
}
