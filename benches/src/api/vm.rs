//! A runtime as a VM with generated code uses it: fields, windows, weak cells, types that are
//! defined while it runs.
#![forbid(unsafe_code)]

use fing::vm::{Field, RefField, Window};
use fing::{HeapOptions, Runtime, TypeId, Weak};
pub(crate) use fing::{Mutator, Obj};

use crate::measure::Fault;

/// An object of a reference, a word and a byte.
const CELL: (&str, &str) = (
    "bench.Cell",
    "struct { Next *bench.Cell; Value uint64; Byte uint8 }",
);
/// The table of a map.
const TABLE: &str = "bench.Table";

/// A runtime with a type of objects and one of tables.
pub(crate) struct Vm {
    runtime: Runtime,
    cell: TypeId,
    table: TypeId,
    fields: Fields,
    /// How many types there are.
    types: usize,
}

/// The fields of an object, as a VM has them at hand where it uses them: by value.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    value: Field<u64>,
    byte: Field<u8>,
    next: RefField,
}

impl Vm {
    pub(crate) fn new() -> Result<Vm, Fault> {
        // Valgrind reserves no more addresses than this.
        let heap = HeapOptions::default().limit(2 << 30);
        let runtime = Runtime::builder().heap(heap).build()?;
        let types = runtime.types();
        let cell = types.define(CELL.0, CELL.1)?;
        let any = types.id("unsafe.Pointer")?;
        let table = types.define_array(TABLE, "struct { Count uint64 }", any)?;
        let desc = types.desc(cell)?;
        let field = |name| desc.field_offset(name).ok_or("no such field");
        Ok(Vm {
            fields: Fields {
                value: runtime.field(cell, field("Value")?)?,
                byte: runtime.field(cell, field("Byte")?)?,
                next: runtime.ref_field(cell, field("Next")?)?,
            },
            cell,
            table,
            types: types.count(),
            runtime,
        })
    }

    pub(crate) fn mutator(&self) -> Result<Mutator, Fault> {
        Ok(self.runtime.attach()?)
    }

    pub(crate) fn alloc<'m>(&self, mutator: &'m Mutator) -> Result<Obj<'m>, Fault> {
        Ok(mutator.alloc(self.cell)?)
    }

    /// The window of objects, and how far they are apart.
    pub(crate) fn window(&self, mutator: &Mutator) -> Result<(Window, usize), Fault> {
        let window = mutator.window(self.cell)?;
        let stride = window.stride();
        Ok((window, stride))
    }

    /// What generated code calls when its window has no object: collects if that is due.
    pub(crate) fn refill(&self, mutator: &mut Mutator, window: &Window) -> Result<usize, Fault> {
        mutator.collect_if_due();
        Ok(mutator.alloc_in(window)?.addr())
    }

    /// A table with room for so many references.
    pub(crate) fn table<'m>(&self, mutator: &'m Mutator, n: usize) -> Result<Obj<'m>, Fault> {
        Ok(mutator.alloc_array(self.table, n)?)
    }

    /// Where a table's references are: the first, and how far they are apart.
    pub(crate) fn slots(&self) -> Result<(usize, usize), Fault> {
        let desc = self.runtime.types().desc(self.table)?;
        Ok(desc.elements_at().ok_or("no array")?)
    }

    pub(crate) fn fields(&self) -> Fields {
        self.fields
    }

    /// Byte offsets of the value and of the reference in an object.
    pub(crate) fn offsets(&self) -> Result<[usize; 2], Fault> {
        let desc = self.runtime.types().desc(self.cell)?;
        let field = |name| desc.field_offset(name).ok_or("no such field");
        Ok([field("Value")?, field("Next")?])
    }

    pub(crate) fn weak_cell<'m>(
        &self,
        mutator: &'m Mutator,
        object: Obj<'_>,
    ) -> Result<Obj<'m>, Fault> {
        Ok(mutator.weak_cell(object)?)
    }

    /// Follows a weak cell through the interface.
    #[inline(always)]
    pub(crate) fn follow<'m>(
        &self,
        mutator: &'m Mutator,
        cell: Obj<'m>,
    ) -> Result<Option<Obj<'m>>, Fault> {
        match mutator.load_word(cell, 0)? {
            0 => Ok(None),
            object => Ok(Some(mutator.adopt(object as usize)?)),
        }
    }

    pub(crate) fn downgrade(&self, mutator: &Mutator, object: Obj<'_>) -> Result<Weak, Fault> {
        Ok(mutator.downgrade(object)?)
    }

    #[inline(always)]
    pub(crate) fn upgrade<'m>(
        &self,
        mutator: &'m Mutator,
        weak: &Weak,
    ) -> Result<Option<Obj<'m>>, Fault> {
        Ok(mutator.upgrade(weak)?)
    }

    pub(crate) fn ephemeron<'m>(
        &self,
        mutator: &'m Mutator,
        key: Obj<'_>,
        value: Obj<'_>,
    ) -> Result<Obj<'m>, Fault> {
        Ok(mutator.ephemeron(key, value)?)
    }

    /// Stores a reference in a table.
    pub(crate) fn keep(
        &self,
        mutator: &Mutator,
        table: Obj<'_>,
        offset: usize,
        object: Obj<'_>,
    ) -> Result<(), Fault> {
        Ok(mutator.store_ref(table, offset, Some(object))?)
    }

    /// Defines a type as a VM does that makes one for each class of its program.
    pub(crate) fn define(&self, name: &str, layout: &str) -> Result<TypeId, Fault> {
        Ok(self.runtime.types().define(name, layout)?)
    }

    /// Defines a type that the next collection gives back.
    pub(crate) fn define_in_passing(&self, name: &str, layout: &str) -> Result<(), Fault> {
        let types = self.runtime.types();
        drop(types.release(types.define(name, layout)?)?);
        Ok(())
    }

    /// Collects.
    pub(crate) fn collect(&self) -> Result<(), Fault> {
        self.runtime.gc()?;
        Ok(())
    }

    /// How many types there are that [`Vm::new`] has not defined.
    pub(crate) fn types_left(&self) -> u64 {
        (self.runtime.types().count() - self.types) as u64
    }
}

impl Fields {
    #[inline(always)]
    pub(crate) fn value(self, mutator: &Mutator, object: Obj<'_>) -> Result<u64, Fault> {
        Ok(mutator.load_field(object, self.value)?)
    }

    #[inline(always)]
    pub(crate) fn set_value(
        self,
        mutator: &Mutator,
        object: Obj<'_>,
        value: u64,
    ) -> Result<(), Fault> {
        Ok(mutator.store_field(object, self.value, value)?)
    }

    #[inline(always)]
    pub(crate) fn byte(self, mutator: &Mutator, object: Obj<'_>) -> Result<u8, Fault> {
        Ok(mutator.load_field(object, self.byte)?)
    }

    #[inline(always)]
    pub(crate) fn next<'m>(
        self,
        mutator: &'m Mutator,
        object: Obj<'m>,
    ) -> Result<Option<Obj<'m>>, Fault> {
        Ok(mutator.load_ref_field(object, self.next)?)
    }

    #[inline(always)]
    pub(crate) fn set_next(
        self,
        mutator: &Mutator,
        object: Obj<'_>,
        next: Obj<'_>,
    ) -> Result<(), Fault> {
        Ok(mutator.store_ref_field(object, self.next, Some(next))?)
    }
}
