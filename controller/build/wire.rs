//! Copies the wire types of the pure crates, as descriptions only, for the OpenAPI document: they stay free of it, and what is
//! documented is what is sent. Reads sources, writes `$OUT_DIR/wire.rs`.

use quote::{ToTokens, quote};
use std::fmt::Write as _;
use std::path::Path;
use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, Item, Meta, Token};

/// Where types of requests and answers are.
const SOURCES: [&str; 22] = [
    "../core/src/cookie.rs",
    "../core/src/histogram.rs",
    "../core/src/plan.rs",
    "../core/src/report.rs",
    "../core/src/reward.rs",
    "../stats/src/units.rs",
    "engine/src/spec.rs",
    "engine/src/state.rs",
    "engine/src/assess/mod.rs",
    "engine/src/assess/seen.rs",
    "engine/src/breaker.rs",
    "engine/src/cells.rs",
    "engine/src/command.rs",
    "engine/src/decide/mod.rs",
    "engine/src/distributions.rs",
    "engine/src/gates.rs",
    "engine/src/health.rs",
    "engine/src/journal/mod.rs",
    "engine/src/journal/growth.rs",
    "engine/src/journal/trace.rs",
    "engine/src/metrics.rs",
    "engine/src/outlook.rs",
];
/// What serde is told of names and shapes; the rest (defaults, conditions) names functions that are not here.
const SHAPE: [&str; 6] = ["rename", "rename_all", "rename_all_fields", "tag", "flatten", "untagged"];

type Failure = Box<dyn std::error::Error>;

pub(crate) fn write() -> Result<(), Failure> {
    let mut text = String::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        let file = syn::parse_file(&std::fs::read_to_string(source).map_err(|error| format!("{source}: {error}"))?)?;
        for item in file.items {
            if let Some(item) = described(item, source)? {
                writeln!(text, "{item}")?;
            }
        }
    }
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("wire.rs"), text)?;
    Ok(())
}

/// A type that is written as JSON, with nothing but its shape and its documentation.
fn described(mut item: Item, source: &str) -> Result<Option<String>, Failure> {
    let attributes = match &mut item {
        Item::Struct(item) => {
            shape(&mut item.fields)?;
            if item.attrs.iter().any(|attribute| attribute.to_token_stream().to_string().contains("transparent")) {
                // As its one field.
                let types = item.fields.iter().map(|field| &field.ty);
                let fields: syn::FieldsUnnamed = syn::parse_quote!((#(#types),*));
                item.fields = Fields::Unnamed(fields);
                item.semi_token = Some(syn::token::Semi::default());
            }
            &mut item.attrs
        }
        Item::Enum(item) => {
            let fields = item
                .attrs
                .iter()
                .any(|attribute| attribute.to_token_stream().to_string().contains("rename_all_fields"));
            for variant in &mut item.variants {
                keep(&mut variant.attrs)?;
                if fields && matches!(variant.fields, Fields::Named(_)) {
                    variant.attrs.push(syn::parse_quote!(#[serde(rename_all = "camelCase")]));
                }
                shape(&mut variant.fields)?;
            }
            &mut item.attrs
        }
        _ => return Ok(None),
    };
    if !attributes.iter().any(is_serialized) {
        return Ok(None);
    }
    keep(attributes)?;
    // One name, two things: a claim of a reward, and what a decision waits for.
    let text = quote!(#[derive(serde::Serialize, utoipa::ToSchema)] #item).to_string();
    let rewards = source.ends_with("report.rs") || source.ends_with("reward.rs");
    Ok(Some(if rewards {
        text.replace(" Claim ", " RewardClaim ").replace("< Claim >", "< RewardClaim >")
    } else {
        text
    }))
}

fn is_serialized(attribute: &Attribute) -> bool {
    attribute.path().is_ident("derive") && attribute.to_token_stream().to_string().contains("Serialize")
}

fn shape(fields: &mut Fields) -> Result<(), Failure> {
    if let Fields::Named(fields) = fields {
        let written =
            |field: &syn::Field| !field.attrs.iter().any(|attribute| *attribute == syn::parse_quote!(#[serde(skip)]));
        fields.named = std::mem::take(&mut fields.named).into_iter().filter(written).collect();
    }
    for field in fields {
        // Written as text, by functions that are not here.
        if field.attrs.iter().any(|attribute| {
            attribute.path().is_ident("serde") && attribute.to_token_stream().to_string().contains("with =")
        }) {
            field.ty = syn::parse_quote!(String);
        }
        let optional = keep(&mut field.attrs)?;
        if optional {
            field.attrs.push(syn::parse_quote!(#[schema(required = false)]));
        }
    }
    Ok(())
}

/// Keeps documentation and what shapes the JSON. Whether what it is of may be absent.
fn keep(attributes: &mut Vec<Attribute>) -> Result<bool, Failure> {
    let mut optional = false;
    let mut kept = Vec::new();
    for attribute in attributes.drain(..) {
        if attribute.path().is_ident("doc") {
            kept.push(plain(attribute));
        } else if attribute.path().is_ident("serde") {
            for meta in attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)? {
                let is = |name: &&str| meta.path().is_ident(name);
                optional |= is(&"default") || is(&"skip_serializing_if");
                if SHAPE.iter().any(is) {
                    kept.push(syn::parse_quote!(#[serde(#meta)]));
                }
            }
        }
    }
    *attributes = kept;
    Ok(optional)
}

/// Documentation without links: what they lead to is not here.
fn plain(attribute: Attribute) -> Attribute {
    let Meta::NameValue(pair) = &attribute.meta else { return attribute };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { return attribute };
    let text = text.value().replace("[`", "`").replace("`]", "`").replace("\\[", "[").replace("\\]", "]");
    syn::parse_quote!(#[doc = #text])
}
