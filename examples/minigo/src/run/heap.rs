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
    /// Has the word that generated code tests at its safepoints.
    pub(crate) flag: SafepointFlag,
    /// By the number that generated code passes.
    pub(crate) sites: Vec<TypeId>,
    by_text: HashMap<String, usize>,
    /// Types with names that the heap knows; it has heard of all.
    defined: HashSet<Ty>,
    /// How many types are being defined.
    depth: u32,
    /// By the text of their elements.
    arrays: HashMap<String, TypeId>,
    texts: HashMap<Vec<u8>, usize>,
}

fn has_name(types: &Types, ty: Ty) -> bool {
    types.has_name(ty) && !types.is_interface(ty)
}

/// What the heap calls a type that has a name. Those of one name that different functions declare
/// differ by their numbers.
fn name(types: &Types, ty: Ty) -> String {
    format!("{}_{}", types.show(ty), ty.0)
}

impl HeapTypes {
    pub(crate) fn new(types: &'static Types, runtime: &Runtime) -> Result<HeapTypes, String> {
        for ty in types.all().filter(|ty| has_name(types, *ty)) {
            let declared = runtime.types();
            let declared = declared.declare_local(&name(types, ty), &types.show(ty));
            declared.map_err(message)?;
        }
        Ok(HeapTypes {
            types,
            runtime: runtime.clone(),
            flag: runtime.safepoint_flag(),
            sites: Vec::new(),
            by_text: HashMap::new(),
            defined: HashSet::new(),
            depth: 0,
            arrays: HashMap::new(),
            texts: HashMap::new(),
        })
    }

    /// The type as fing's parser reads it, and knows it.
    pub(crate) fn text(&mut self, ty: Ty) -> Result<String, String> {
        if has_name(self.types, ty) {
            return self.named(ty);
        }
        Ok(match self.types.own_kind(ty) {
            Kind::Basic(Basic::Void) => "struct {}".to_owned(),
            Kind::Basic(_) => self.types.show(self.types.default_type(ty)),
            Kind::Pointer(to) => format!("*{}", self.behind(*to)?),
            Kind::Slice(of) => format!("[]{}", self.behind(*of)?),
            Kind::Array(n, of) => format!("[{n}]{}", self.text(*of)?),
            Kind::Struct(fields) => {
                let mut text = String::from("struct {");
                for (index, field) in fields.iter().enumerate() {
                    text.push_str(&format!(" f{index} {};", self.text(field.ty)?));
                }
                text + " }"
            }
            Kind::Interface(_) | Kind::Named(_) => "any".to_owned(),
            _ => "unsafe.Pointer".to_owned(),
        })
    }

    /// The text of what a pointer or a slice leads to. While a type is being defined, that may have
    /// it as a part, so it is only declared; and what has no name, and parts, is anything.
    fn behind(&mut self, ty: Ty) -> Result<String, String> {
        match self.types.has_parts(ty) && self.depth > 0 {
            true if has_name(self.types, ty) => Ok(name(self.types, ty)),
            true => Ok("unsafe.Pointer".to_owned()),
            false => self.text(ty),
        }
    }

    /// The name of a type that is defined.
    fn named(&mut self, ty: Ty) -> Result<String, String> {
        let name = name(self.types, ty);
        if !self.defined.insert(ty) {
            return Ok(name);
        }
        self.depth += 1;
        let text = self.text(self.types.underlying(ty))?;
        self.depth -= 1;
        let types = self.runtime.types();
        let id = types.define(&name, &text).map_err(message)?;
        let found = types.desc(id).map_err(message)?.size() as u64;
        match self.types.size(ty) {
            wanted if wanted == found => Ok(name),
            wanted => Err(format!("{name} has {found} bytes, wanted {wanted}")),
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

    /// The type with this text.
    pub(crate) fn id(&mut self, text: &str) -> Result<TypeId, String> {
        let site = self.site(text)?;
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
        let kept = || bytes.to_vec().leak().as_ptr().expose_provenance();
        *self.texts.entry(bytes.to_vec()).or_insert_with(kept)
    }
}
