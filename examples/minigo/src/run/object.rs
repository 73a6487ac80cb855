//! Objects: making them, copying, comparing, and which of them are roots.
#![expect(
    unsafe_code,
    reason = "reads and writes objects as generated code does"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::Mutator;
use fing::vm::Window;

use super::sched::FINALIZERS;
use super::{Ctx, TypeInfo, Vm, fail, lock, sched};
use crate::types::{Basic, Kind, Ty};

/// All types, by number.
pub(super) static INFOS: OnceLock<&'static [TypeInfo]> = OnceLock::new();

impl TypeInfo {
    /// The type that a word of an interface stands for; none for nil.
    pub(super) fn of(word: u64) -> Option<&'static TypeInfo> {
        // SAFETY: M2: a type word of generated code is nil or the address of one of the infos,
        // which are never freed.
        unsafe { std::ptr::with_exposed_provenance::<TypeInfo>(word as usize).as_ref() }
    }

    pub(super) fn ty(&self) -> Ty {
        self.ty
    }

    /// The code of a method, if the type has it.
    pub(super) fn method(&self, number: Option<usize>, count: usize) -> Option<usize> {
        let table = self.methods.load(Ordering::Acquire);
        let number = number.filter(|number| *number < count && !table.is_null())?;
        // SAFETY: M2: the table has an entry for each method, and is never freed.
        let code = unsafe { *table.add(number) };
        (code != 0).then_some(code)
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
    // SAFETY: M1: text and slices of generated code are that many bytes of live objects, which
    // the callers do not keep beyond their own call.
    unsafe {
        std::slice::from_raw_parts(
            std::ptr::with_exposed_provenance(at as usize),
            length as usize,
        )
    }
}

/// Copies bytes, which may overlap.
pub(super) fn copy_bytes(to: usize, from: usize, count: usize) {
    if count > 0 {
        // SAFETY: M1: both are so many bytes of live objects, or of a context.
        unsafe {
            std::ptr::copy(
                std::ptr::with_exposed_provenance::<u8>(from),
                std::ptr::with_exposed_provenance_mut::<u8>(to),
                count,
            );
        }
    }
}

impl Ctx {
    pub(super) fn mutator(&mut self) -> &mut Mutator {
        // SAFETY: M3: a context has the mutator of its thread while generated code runs.
        unsafe { &mut *self.mutator }
    }

    pub(super) fn buffer(&self) -> usize {
        self.buffer.as_ptr().expose_provenance()
    }

    pub(super) fn set_text(&mut self, text: &[u8]) {
        let at = self.new_bytes(text);
        self.results[0] = at as u64;
        self.results[1] = text.len() as u64;
    }

    /// A new array of bytes.
    pub(super) fn new_bytes(&mut self, text: &[u8]) -> usize {
        let at = self.array(crate::types::basic::UINT8, text.len() as u64);
        copy_bytes(at, text.as_ptr().expose_provenance(), text.len());
        at
    }

    /// A new object; ends the process if there is no memory.
    pub(super) fn object(&mut self, id: fing::TypeId) -> usize {
        match self.mutator().alloc(id) {
            Ok(object) => object.addr(),
            Err(error) => fail::fatal(self.vm, &format!("fatal error: out of memory: {error}")),
        }
    }

    pub(super) fn object_of(&mut self, text: &str) -> usize {
        let id = {
            let mut heap = lock(&self.vm.heap);
            heap.site(text).map(|site| heap.at_site(site))
        };
        match id {
            Ok(id) => self.object(id),
            Err(error) => fail::fatal(self.vm, &format!("minigo: {error}")),
        }
    }

    /// A new array.
    pub(super) fn array(&mut self, elem: Ty, count: u64) -> usize {
        let text = lock(&self.vm.heap).text(elem);
        match text {
            Ok(text) => self.array_of(&text, self.vm.program.types.size(elem), count),
            Err(error) => fail::fatal(self.vm, &format!("minigo: {error}")),
        }
    }

    /// A new array of elements of a type with this text and so many bytes.
    pub(super) fn array_of(&mut self, elem: &str, size: u64, count: u64) -> usize {
        if size.checked_mul(count).is_none_or(|bytes| bytes > 1 << 40) {
            fail::fatal(self.vm, "fatal error: runtime: out of memory");
        }
        if size == 0 {
            return self.object_of(elem);
        }
        let array = lock(&self.vm.heap).array(elem);
        let array = array.unwrap_or_else(|error| fail::fatal(self.vm, &error));
        // The first element is there in any case.
        let more = (count as usize).saturating_sub(1);
        match self.mutator().alloc_array(array, more) {
            Ok(object) => object.addr(),
            Err(error) => fail::fatal(self.vm, &format!("fatal error: out of memory: {error}")),
        }
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
    addresses: Box<[usize]>,
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

    /// The address of the table of the windows' addresses.
    pub(super) fn address(&self) -> usize {
        self.addresses.as_ptr().expose_provenance()
    }
}

/// A new object of a type that has no windows.
pub(super) extern "C" fn new(ctx: &mut Ctx, site: u64) -> u64 {
    let id = lock(&ctx.vm.heap).at_site(site as usize);
    ctx.mutator().collect_at_safepoint();
    sched::make_way(ctx);
    ctx.object(id) as u64
}

/// A new object where the goroutine's window is empty or is not there yet.
pub(super) extern "C" fn refill(ctx: &mut Ctx, number: u64) -> u64 {
    REFILLS.fetch_add(1, Ordering::Relaxed);
    let at = number as usize;
    let site = &mut ctx.sites.sites[at];
    site.made = site.made.saturating_add(1);
    // Finalizers run with a mutator for each call, and windows end with their mutators.
    if site.made <= BEFORE_WINDOW || ctx.number == FINALIZERS {
        return new(ctx, number);
    }
    ctx.mutator().collect_at_safepoint();
    sched::make_way(ctx);
    let site = &mut ctx.sites.sites[at];
    // SAFETY: M3: the context's mutator, which nothing else uses while this function runs.
    let mutator = unsafe { &mut *ctx.mutator };
    if site.window.is_none() {
        let id = lock(&ctx.vm.heap).at_site(at);
        site.window = mutator.window(id).ok();
        if let Some(window) = &site.window {
            ctx.sites.addresses[at] = window.address();
        }
    }
    let made = site.window.as_ref().map(|window| mutator.alloc_in(window));
    match made {
        Some(Ok(object)) => object.addr() as u64,
        Some(Err(error)) => fail::fatal(ctx.vm, &format!("fatal error: out of memory: {error}")),
        None => new(ctx, number),
    }
}

pub(super) extern "C" fn poll(ctx: &mut Ctx) -> u64 {
    ctx.mutator().collect_at_safepoint();
    0
}

pub(super) extern "C" fn new_array(ctx: &mut Ctx, elem: u64, count: u64) -> u64 {
    if count > 1 << 40 {
        return fail::make(ctx);
    }
    ctx.array(Ty(elem as u32), count) as u64
}

/// Room for `wanted` elements: a larger array with what is there.
pub(super) extern "C" fn grow(
    ctx: &mut Ctx,
    elem: u64,
    at: u64,
    length: u64,
    cap: u64,
    wanted: u64,
) -> u64 {
    let elem = Ty(elem as u32);
    // Go's rule, without the rounding to its own size classes.
    let doubled = if cap < 256 {
        cap * 2
    } else {
        cap + (cap + 3 * 256) / 4
    };
    let new_cap = doubled.max(wanted);
    let new = ctx.array(elem, new_cap);
    let bytes = length * ctx.vm.program.types.size(elem);
    copy_bytes(new, at as usize, bytes as usize);
    ctx.results[0] = new_cap;
    new as u64
}

pub(super) extern "C" fn copy(_: &mut Ctx, to: u64, from: u64, count: u64) -> u64 {
    copy_bytes(to as usize, from as usize, count as usize);
    0
}

pub(super) extern "C" fn implements(ctx: &mut Ctx, info: u64, interface: u64) -> u64 {
    let Some(info) = TypeInfo::of(info) else {
        return 0;
    };
    let key = (info.ty(), Ty(interface as u32));
    let types = &ctx.vm.program.types;
    let mut known = lock(&ctx.vm.implements);
    let is = *known
        .entry(key)
        .or_insert_with(|| types.missing_method(key.0, key.1).is_none());
    u64::from(is)
}

pub(super) extern "C" fn interfaces_equal(ctx: &mut Ctx, t: u64, a: u64, u: u64, b: u64) -> u64 {
    if t != u {
        return 0;
    }
    let Some(info) = TypeInfo::of(t) else {
        return 1;
    };
    let types = &ctx.vm.program.types;
    if !types.is_comparable(info.ty()) {
        let ty = types.show(info.ty());
        return fail::panic(ctx, &format!("comparing uncomparable type {ty}"));
    }
    if types.is_pointer_shaped(info.ty()) {
        return u64::from(a == b);
    }
    u64::from(equal(ctx.vm, info.ty(), a as usize, b as usize))
}

/// Whether two values in memory are equal.
pub(super) fn equal(vm: &Vm, ty: Ty, a: usize, b: usize) -> bool {
    let types = &vm.program.types;
    let words = |at: usize| (read(at), read(at + 8));
    match types.kind(ty) {
        Kind::Struct(fields) => {
            let mut parts = fields.iter().zip(types.offsets(fields));
            parts.all(|(field, at)| equal(vm, field.ty, a + at as usize, b + at as usize))
        }
        Kind::Array(n, of) => {
            let size = types.size(*of) as usize;
            (0..*n as usize).all(|n| equal(vm, *of, a + n * size, b + n * size))
        }
        Kind::Interface(_) => {
            let ((t, a), (u, b)) = (words(a), words(b));
            match TypeInfo::of(t) {
                _ if t != u => false,
                None => true,
                Some(info) if types.is_pointer_shaped(info.ty()) => a == b,
                Some(info) => equal(vm, info.ty(), a as usize, b as usize),
            }
        }
        Kind::Basic(Basic::String) => {
            let ((a, n), (b, m)) = (words(a), words(b));
            bytes(a, n) == bytes(b, m)
        }
        Kind::Basic(Basic::Float64) => f64::from_bits(read(a)) == f64::from_bits(read(b)),
        Kind::Basic(Basic::Float32) => {
            let value = |at: usize| f32::from_bits(small(at, 4) as u32);
            value(a) == value(b)
        }
        _ => {
            let size = types.size(ty);
            bytes(a as u64, size) == bytes(b as u64, size)
        }
    }
}

/// A number of up to 8 bytes.
pub(super) fn small(at: usize, size: u64) -> u64 {
    let mut value = [0; 8];
    value[..size as usize].copy_from_slice(bytes(at as u64, size));
    u64::from_ne_bytes(if cfg!(target_endian = "big") {
        value.rotate_right(8 - size as usize);
        value
    } else {
        value
    })
}

/// Visits what collections must keep besides what frames refer to.
pub(super) fn visit_roots(vm: &Vm, globals: &[usize], visit: &mut dyn FnMut(usize)) {
    globals.iter().for_each(|at| visit(read(*at) as usize));
    for context in lock(&vm.contexts).iter() {
        // SAFETY: M4: contexts are listed as long as they exist, and no thread that has one runs
        // while a collection visits roots.
        let ctx = unsafe { &*std::ptr::with_exposed_provenance::<Ctx>(*context) };
        ctx.roots.iter().for_each(|at| visit(*at));
        ctx.panics.iter().for_each(|panic| visit(panic.value[1]));
        visit(ctx.pending[1]);
        ctx.cases.iter().for_each(|case| case.visit(visit));
    }
    vm.sched.visit(visit);
}

impl TypeInfo {
    /// The word that stands for a type in interfaces.
    pub(super) fn address(ty: Ty) -> usize {
        let infos = INFOS.get().copied().unwrap_or(&[]);
        infos
            .get(ty.0 as usize)
            .map_or(0, |info| std::ptr::from_ref(info).expose_provenance())
    }
}
