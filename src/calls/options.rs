//! What a registration consists of besides the object and the function.
#![forbid(unsafe_code)]

use crate::order::CyclePolicy;

/// A value that a registration passes to its call besides the object: a plain word, or an object
/// that is kept alive until the call has returned. `O` is the type of references to objects:
/// [`Obj`](crate::Obj) in a [`Runtime`](crate::Runtime), the collector's
/// [`Reference`](crate::foreign::Reference) in [`foreign::Finalizers`](crate::foreign::Finalizers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldValue<O> {
    /// A plain word. It is not traced, even if it is an object's address.
    Word(u64),
    /// An object. It is a root exactly while the registration exists, or its call is queued or
    /// running.
    Object(O),
}

/// Options for setting a finalizer.
///
/// ```
/// use fing::{CyclePolicy, FinalizerOptions, HeldValue, Obj};
/// let options: FinalizerOptions<Obj<'_>> =
///     FinalizerOptions::new().context(HeldValue::Word(7)).cycle(CyclePolicy::Report);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct FinalizerOptions<O> {
    pub(crate) context: Option<HeldValue<O>>,
    pub(crate) cycle: CyclePolicy,
    pub(crate) external_bytes: usize,
}

impl<O> Default for FinalizerOptions<O> {
    fn default() -> Self {
        FinalizerOptions::new()
    }
}

impl<O> FinalizerOptions<O> {
    /// Returns the defaults: no context, [`CyclePolicy::Leave`], no external bytes.
    pub const fn new() -> Self {
        FinalizerOptions {
            context: None,
            cycle: CyclePolicy::Leave,
            external_bytes: 0,
        }
    }

    /// Sets the context of this registration. The function must have been declared to take a
    /// context from each registration
    /// ([`context_word`](crate::function::FunctionBuilder::context_word),
    /// [`context_object`](crate::function::FunctionBuilder::context_object)).
    pub fn context(mut self, context: HeldValue<O>) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets what happens to an unreachable cycle that the object is on. It matters only in
    /// [`Order::Topological`](crate::Order::Topological).
    pub fn cycle(mut self, policy: CyclePolicy) -> Self {
        self.cycle = policy;
        self
    }
}
