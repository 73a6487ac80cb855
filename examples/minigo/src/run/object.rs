//! Objects: making them, reading and writing them.
#![expect(
    unsafe_code,
    reason = "reads and writes objects as generated code does"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use fing::vm::Window;
use fing::{Handle, Mutator, TypeId};
use minigo_front::types::{Ty, Types, basic};

use super::fail::{self, OrFatal};
use super::sched::{FINALIZERS, make_way_for_finalizers};
use super::{Ctx, TypeInfo, lock};

/// Bytes or elements of the largest array.
pub(super) const MOST: u64 = 1 << 40;

const OUT_OF_MEMORY: &str = "fatal error: out of memory";

impl TypeInfo {
    /// The type that a word of an interface stands for; none for nil.
    pub(super) fn of(word: u64) -> Option<&'static TypeInfo> {
        // SAFETY: M2: a type word of generated code is nil or the address of one of the infos,
        // which are never freed.
        unsafe { std::ptr::with_exposed_provenance::<TypeInfo>(word as usize).as_ref() }
    }

    /// Sets the code of the methods, by number.
    pub(crate) fn set_methods(&self, codes: Vec<usize>) {
        self.methods
            .store(codes.leak().as_mut_ptr(), Ordering::Release);
    }

    /// The word that stands for a type in interfaces.
    pub(crate) fn address(&'static self) -> usize {
        std::ptr::from_ref(self).expose_provenance()
    }
}

/// Reads a word of an object or of the context.
pub(super) fn read(at: usize) -> u64 {
    // SAFETY: M1: generated code and the host pass addresses of whole words of live objects only.
    unsafe { *std::ptr::with_exposed_provenance::<u64>(at) }
}

pub(super) fn write(at: usize, value: u64) {
    // SAFETY: as in `read`.
    unsafe { *std::ptr::with_exposed_provenance_mut::<u64>(at) = value }
}

/// The bytes at an address.
pub(super) fn bytes<'a>(at: u64, length: u64) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    let at = std::ptr::with_exposed_provenance(at as usize);
    // SAFETY: M1: text and slices of generated code are that many bytes of live objects, which
    // the callers do not keep beyond their own call.
    unsafe { std::slice::from_raw_parts(at, length as usize) }
}

/// The text of a string in memory.
pub(super) fn string_at<'a>(at: usize) -> &'a [u8] {
    bytes(read(at), read(at + 8))
}

/// A number of up to 8 bytes.
pub(super) fn small(at: usize, size: u64) -> u64 {
    let found = bytes(at as u64, size.min(8));
    let mut value = [0; 8];
    let start = usize::from(cfg!(target_endian = "big")) * (8 - found.len());
    value[start..start + found.len()].copy_from_slice(found);
    u64::from_ne_bytes(value)
}

/// Copies bytes, which may overlap.
pub(super) fn copy_bytes(to: usize, from: usize, count: usize) {
    let (to, from) = (
        std::ptr::with_exposed_provenance_mut::<u8>(to),
        std::ptr::with_exposed_provenance::<u8>(from),
    );
    if count > 0 {
        // SAFETY: M1: both are so many bytes of live objects, of a context, or of the host.
        unsafe { std::ptr::copy(from, to, count) };
    }
}

impl Ctx {
    pub(super) fn mutator(&mut self) -> &mut Mutator {
        // SAFETY: M3: a context has the mutator of its thread while generated code runs.
        unsafe { &mut *self.mutator }
    }

    pub(super) fn mutator_ref(&self) -> &Mutator {
        // SAFETY: M3: as above.
        unsafe { &*self.mutator }
    }

    pub(super) fn types(&self) -> &'static Types {
        self.vm.types
    }

    /// Where a collection may happen, and does if one is due.
    pub(super) fn safepoint(&mut self) {
        self.mutator().collect_at_safepoint();
    }

    pub(super) fn buffer(&self) -> usize {
        self.buffer.as_ptr().expose_provenance()
    }

    /// Leaves words where generated code finds results that are not in registers.
    pub(super) fn leave<const N: usize>(&mut self, words: [usize; N]) {
        self.results[..N].copy_from_slice(&words.map(|word| word as u64));
    }

    /// Leaves a new string, or slice of bytes, in the results.
    pub(super) fn leave_text(&mut self, text: &[u8]) {
        let at = self.new_bytes(text);
        self.leave([at, text.len()]);
    }

    /// A new array of bytes.
    pub(super) fn new_bytes(&mut self, text: &[u8]) -> usize {
        let at = self.array(basic::UINT8, text.len() as u64);
        copy_bytes(at, text.as_ptr().expose_provenance(), text.len());
        at
    }

    /// Keeps an object.
    pub(super) fn root(&mut self, object: usize) -> Handle {
        let mutator = self.mutator();
        let object = mutator.adopt(object).and_then(|it| mutator.root(it));
        object.or_fatal("minigo")
    }

    /// A new object; ends the process if there is no memory.
    fn object(&mut self, id: TypeId) -> usize {
        self.mutator().alloc(id).or_fatal(OUT_OF_MEMORY).addr()
    }

    /// A new object of the type with this text.
    pub(super) fn object_of(&mut self, text: &str) -> usize {
        let id = lock(&self.vm.heap).id(text).or_fatal("minigo");
        self.object(id)
    }

    /// A new array.
    pub(super) fn array(&mut self, elem: Ty, count: u64) -> usize {
        let text = lock(&self.vm.heap).text(elem).or_fatal("minigo");
        self.array_of(&text, self.types().size(elem), count)
    }

    /// A new array of elements of a type with this text and so many bytes.
    pub(super) fn array_of(&mut self, elem: &str, size: u64, count: u64) -> usize {
        if size.checked_mul(count).is_none_or(|bytes| bytes > MOST) {
            fail::fatal("fatal error: runtime: out of memory");
        }
        if size == 0 {
            return self.object_of(elem);
        }
        let array = lock(&self.vm.heap).array(elem).or_fatal("minigo");
        // The first element is there in any case.
        let more = (count as usize).saturating_sub(1);
        let made = self.mutator().alloc_array(array, more);
        made.or_fatal(OUT_OF_MEMORY).addr()
    }
}

/// The two words of a window that is always empty.
static EMPTY: [u64; 2] = [0; 2];

/// Objects that a goroutine makes at a site before it has a window there, as a window takes a
/// block of the heap.
const BEFORE_WINDOW: u32 = 16;

/// How often generated code has found no object in a window.
pub(super) static REFILLS: AtomicU64 = AtomicU64::new(0);

/// Where a goroutine makes objects: the windows that it has, by the number that generated code
/// passes.
#[derive(Debug)]
pub(super) struct Sites {
    pub(super) addresses: Box<[usize]>,
    sites: Vec<Site>,
}

#[derive(Clone, Debug, Default)]
struct Site {
    made: u32,
    window: Option<Window>,
}

impl Sites {
    pub(super) fn new(count: usize) -> Sites {
        let empty = EMPTY.as_ptr().expose_provenance();
        Sites {
            addresses: vec![empty; count].into(),
            sites: vec![Site::default(); count],
        }
    }
}

/// A new object of a type that has no windows.
pub(super) fn new(ctx: &mut Ctx, site: usize) -> usize {
    ctx.safepoint();
    make_way_for_finalizers(ctx);
    let id = lock(&ctx.vm.heap).sites[site];
    ctx.object(id)
}

/// A new object where the goroutine's window is empty or is not there yet.
pub(super) fn refill(ctx: &mut Ctx, number: usize) -> usize {
    REFILLS.fetch_add(1, Ordering::Relaxed);
    ctx.safepoint();
    make_way_for_finalizers(ctx);
    let id = || lock(&ctx.vm.heap).sites[number];
    // SAFETY: M3: the context's mutator, which nothing else uses while this function runs.
    let mutator = unsafe { &mut *ctx.mutator };
    let site = &mut ctx.sites.sites[number];
    site.made = site.made.saturating_add(1);
    // Finalizers run with a mutator for each call, and windows end with their mutators.
    if site.window.is_none() && site.made > BEFORE_WINDOW && ctx.number != FINALIZERS {
        site.window = mutator.window(id()).ok();
        if let Some(window) = &site.window {
            ctx.sites.addresses[number] = window.address();
        }
    }
    let made = match &site.window {
        Some(window) => mutator.alloc_in(window),
        None => mutator.alloc(id()),
    };
    made.or_fatal(OUT_OF_MEMORY).addr()
}

pub(super) fn make_slice(ctx: &mut Ctx, elem: Ty, length: u64, cap: u64) -> usize {
    let size = ctx.types().size(elem);
    let fits = |n: u64| n <= i64::MAX as u64 && n.checked_mul(size).is_some_and(|n| n <= 1 << 48);
    if length <= cap && fits(cap) {
        return ctx.array(elem, cap);
    }
    let what = if fits(length) { "cap" } else { "len" };
    fail::panic(ctx, &format!("makeslice: {what} out of range"));
    0
}

/// Room for `wanted` elements: a larger array with what is there, and its capacity.
pub(super) fn grow(ctx: &mut Ctx, elem: Ty, [at, length, cap, wanted]: [u64; 4]) -> usize {
    if wanted > i64::MAX as u64 {
        fail::panic(ctx, "growslice: len out of range");
        return 0;
    }
    // Go's rule, without the rounding to its own size classes.
    let more = if cap < 256 { cap } else { (cap + 3 * 256) / 4 };
    let new_cap = wanted.max(cap + more);
    let new = ctx.array(elem, new_cap);
    copy_bytes(new, at as usize, (length * ctx.types().size(elem)) as usize);
    ctx.leave([new_cap as usize]);
    new
}

pub(super) fn implements(ctx: &mut Ctx, ty: Ty, interface: Ty) -> bool {
    let mut known = lock(&ctx.vm.implements);
    let is = known.entry((ty, interface));
    let implements = || ctx.types().missing_method(ty, interface).is_none();
    *is.or_insert_with(|| ty != basic::VOID && implements())
}
