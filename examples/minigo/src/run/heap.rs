//! The program's types as types of fing's heap.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use fing::vm::SafepointFlag;
use fing::{Runtime, TypeId};
use minigo_front::types::{Basic, Kind, Ty, Types};

use super::message;

/// Types of the heap, by what they are for.
pub(crate) struct HeapTypes {
    types: &'static Types,
    runtime: Runtime,
    flag: SafepointFlag,
    /// By the number that generated code passes.
    sites: Vec<TypeId>,
    by_text: HashMap<String, usize>,
    /// Named types that the heap has heard of, and those of them that it knows.
    declared: HashSet<Ty>,
    defined: HashSet<Ty>,
    /// Those that only pointers lead to so far, and how many types are being defined.
    pending: Vec<Ty>,
    depth: u32,
    /// By the text of their elements.
    arrays: HashMap<String, TypeId>,
    texts: HashMap<Vec<u8>, usize>,
    any: Ty,
}

impl HeapTypes {
    pub(crate) fn new(types: &'static Types, runtime: &Runtime) -> Result<HeapTypes, String> {
        let is_any = |ty: &Ty| *types.own_kind(*ty) == Kind::Interface(Vec::new());
        let any = types.all().find(is_any);
        Ok(HeapTypes {
            types,
            runtime: runtime.clone(),
            flag: runtime.safepoint_flag(),
            sites: Vec::new(),
            by_text: HashMap::new(),
            declared: HashSet::new(),
            defined: HashSet::new(),
            pending: Vec::new(),
            depth: 0,
            arrays: HashMap::new(),
            texts: HashMap::new(),
            any: any.ok_or("the program has no type any")?,
        })
    }

    pub(crate) fn types(&self) -> &'static Types {
        self.types
    }

    pub(crate) fn any(&self) -> Ty {
        self.any
    }

    /// The address of the word that generated code tests at its safepoints.
    pub(crate) fn flag(&self) -> usize {
        self.flag.address()
    }

    /// The type as fing's parser reads it, and knows it.
    pub(crate) fn text(&mut self, ty: Ty) -> Result<String, String> {
        let text = self.part(ty)?;
        while let Some(ty) = self.pending.pop() {
            self.named(ty)?;
        }
        Ok(text)
    }

    fn has_name(&self, ty: Ty) -> bool {
        self.types.named(ty).is_some() && !self.types.is_interface(ty)
    }

    /// The text of a type, of which values are a part of what is being defined.
    fn part(&mut self, ty: Ty) -> Result<String, String> {
        if self.has_name(ty) {
            return self.named(ty);
        }
        Ok(match self.types.own_kind(ty) {
            Kind::Basic(Basic::Void) => "struct {}".to_owned(),
            Kind::Basic(_) => self.types.show(self.types.default_type(ty)),
            Kind::Pointer(to) => format!("*{}", self.behind(*to)?),
            Kind::Slice(of) => format!("[]{}", self.behind(*of)?),
            Kind::Array(n, of) => format!("[{n}]{}", self.part(*of)?),
            Kind::Struct(fields) => {
                let mut text = String::from("struct {");
                for (index, field) in fields.iter().enumerate() {
                    text.push_str(&format!(" f{index} {};", self.part(field.ty)?));
                }
                text + " }"
            }
            Kind::Weak(_) | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
                "unsafe.Pointer".to_owned()
            }
            _ => "any".to_owned(),
        })
    }

    /// The text of what a pointer or a slice leads to. While a type is being defined, that may have
    /// it as a part, so it is defined later; and what has no name, and parts, is anything.
    fn behind(&mut self, ty: Ty) -> Result<String, String> {
        match self.types.has_parts(ty) && self.depth > 0 {
            true if self.has_name(ty) => {
                self.pending.push(ty);
                self.declared(ty)
            }
            true => Ok("unsafe.Pointer".to_owned()),
            false => self.part(ty),
        }
    }

    /// The name of a type, which the heap hears of. Types of one name that different functions
    /// declare differ by their numbers.
    fn declared(&mut self, ty: Ty) -> Result<String, String> {
        let named = self.types.named(ty).ok_or("a type has no name")?;
        let name = format!("{}_{}", named.name, ty.0);
        if self.declared.insert(ty) {
            let declared = self.runtime.types().declare_local(&name, &named.name);
            declared.map_err(message)?;
        }
        Ok(name)
    }

    fn named(&mut self, ty: Ty) -> Result<String, String> {
        let named = self.types.named(ty).ok_or("a type has no name")?;
        let name = self.declared(ty)?;
        if !self.defined.insert(ty) {
            return Ok(name);
        }
        self.depth += 1;
        let text = self.part(named.underlying)?;
        self.depth -= 1;
        let types = self.runtime.types();
        let id = types.define(&name, &text).map_err(message)?;
        let found = types.desc(id).map_err(message)?.size() as u64;
        match self.types.size(ty) {
            wanted if wanted == found => Ok(name),
            wanted => Err(format!(
                "{name} has {found} bytes in the heap, wanted {wanted}"
            )),
        }
    }

    /// The number that generated code passes to make an object of a type of the heap's.
    pub(crate) fn site(&mut self, text: &str) -> Result<usize, String> {
        if let Some(site) = self.by_text.get(text) {
            return Ok(*site);
        }
        self.sites
            .push(self.runtime.types().id(text).map_err(message)?);
        let site = self.sites.len() - 1;
        self.by_text.insert(text.to_owned(), site);
        Ok(site)
    }

    /// The text of a type that there is a number for.
    pub(super) fn text_of(&self, ty: TypeId) -> Option<&str> {
        let mut known = self.by_text.iter();
        let found = known.find(|(_, site)| self.sites[**site] == ty);
        found.map(|(text, _)| text.as_str())
    }

    /// How many sites there are.
    pub(super) fn sites(&self) -> usize {
        self.sites.len()
    }

    pub(crate) fn at_site(&self, site: usize) -> TypeId {
        self.sites[site]
    }

    /// The type of one object.
    pub(super) fn id(&mut self, ty: Ty) -> Result<TypeId, String> {
        let text = self.text(ty)?;
        let site = self.site(&text)?;
        Ok(self.sites[site])
    }

    /// The type of arrays of any length, whose elements are of a type with this text. The first
    /// element is the value that each object has, as a finalizer may be set for it.
    pub(super) fn array(&mut self, text: &str) -> Result<TypeId, String> {
        if let Some(id) = self.arrays.get(text) {
            return Ok(*id);
        }
        let types = self.runtime.types();
        let name = format!("array.A{}", self.arrays.len());
        let first = format!("struct {{ first {text} }}");
        let elem = types.id(text).map_err(message)?;
        let id = types.define_array(&name, &first, elem).map_err(message)?;
        self.arrays.insert(text.to_owned(), id);
        Ok(id)
    }

    /// The address of text that is never freed.
    pub(crate) fn text_bytes(&mut self, bytes: &[u8]) -> usize {
        if let Some(address) = self.texts.get(bytes) {
            return *address;
        }
        let kept: &'static [u8] = bytes.to_vec().leak();
        let address = kept.as_ptr().expose_provenance();
        self.texts.insert(bytes.to_vec(), address);
        address
    }
}
