//! A YAML value that keeps the order of its fields, so that what is extended stays readable beside what it was.

use crate::Refused;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use std::fmt;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond those.
    Unsigned(u64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Fields in their order; names are unique.
    Map(Vec<(String, Self)>),
}

impl Yaml {
    /// A map of fields.
    pub fn map<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A field of a map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match self {
            Self::Map(fields) => fields.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A field further down.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// A text further down.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        match self.at(path)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list further down; none if there is no list.
    #[must_use]
    pub fn items_at(&self, path: &[&str]) -> &[Self] {
        match self.at(path) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }

    /// The items of a list that is a field, to be changed; the list is made if there is none. `None` where the value is
    /// no map, or the field is something else.
    pub fn list_mut(&mut self, name: &str) -> Option<&mut Vec<Self>> {
        if !matches!(self.get(name), Some(Self::List(_))) {
            match self.get(name) {
                None | Some(Self::Null) => self.set(name, Self::List(Vec::new())),
                Some(_) => return None,
            }
        }
        match self.get_mut(name) {
            Some(Self::List(items)) => Some(items),
            _ => None,
        }
    }

    /// Sets a field where it is, or as the last. Does nothing to what is no map.
    pub fn set(&mut self, name: &str, value: Self) {
        if let Some(known) = self.get_mut(name) {
            *known = value;
        } else if let Self::Map(fields) = self {
            fields.push((name.to_owned(), value));
        }
    }

    /// Sets a field, as the first if it is new.
    pub fn set_first(&mut self, name: &str, value: Self) {
        if let Some(known) = self.get_mut(name) {
            *known = value;
        } else if let Self::Map(fields) = self {
            fields.insert(0, (name.to_owned(), value));
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Self> {
        match self {
            Self::Map(fields) => {
                let at = fields.iter().position(|(known, _)| known == name)?;
                Some(fields.remove(at).1)
            }
            _ => None,
        }
    }

    /// What a whole number is.
    #[must_use]
    pub const fn whole(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// The documents of a text, as Kubernetes' tools read them: `0440` is octal there.
///
/// # Errors
/// When it is no YAML.
pub fn read_all(text: &str) -> Result<Vec<Yaml>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options)
}

/// Anything as a YAML document.
///
/// # Errors
/// When it has what YAML cannot hold.
pub fn print(value: &impl Serialize) -> Result<String, Refused> {
    let mut text = serde_saphyr::to_string(value).map_err(|error| Refused::Unwritable(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

impl Serialize for Yaml {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Integer(value) => to.serialize_i64(*value),
            Self::Unsigned(value) => to.serialize_u64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::List(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Yaml;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(i64::try_from(value).map_or(Yaml::Unsigned(value), Yaml::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Yaml, E> {
        Ok(Yaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut fields: Vec<(String, Yaml)> = Vec::new();
        while let Some((name, value)) = from.next_entry::<String, Yaml>()? {
            fields.push((name, value));
        }
        Ok(Yaml::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_and_fields_keep_their_order() {
        let text = "b: 1\na: [true, null, 1.5, \"1\", yes, {z: '', y: 18446744073709551615}]\n\"on\": \"no\"\n";
        let value: Yaml = serde_saphyr::from_str(text).unwrap();
        assert_eq!(value.get("b").and_then(Yaml::whole), Some(1));
        assert_eq!(value.items_at(&["a"])[3], Yaml::text("1"));
        assert_eq!(value.text_at(&["on"]), Some("no"));
        let printed = serde_saphyr::to_string(&value).unwrap();
        assert!(printed.starts_with("b: 1\na:"), "{printed}");
        assert_eq!(serde_saphyr::from_str::<Yaml>(&printed).unwrap(), value, "{printed}");
    }

    #[test]
    fn a_field_is_set_where_it_is() {
        let mut value = Yaml::map([("a", Yaml::Integer(1)), ("b", Yaml::Null)]);
        value.set("a", Yaml::Integer(2));
        value.set("c", Yaml::Integer(3));
        value.list_mut("b").unwrap().push(Yaml::Bool(true));
        let expected = [("a", Yaml::Integer(2)), ("b", Yaml::List(vec![Yaml::Bool(true)])), ("c", Yaml::Integer(3))];
        assert_eq!(value, Yaml::map(expected));
        assert_eq!(value.list_mut("a"), None);
        assert_eq!(value.remove("a"), Some(Yaml::Integer(2)));
    }
}
