//! The types that fields are declared with (docs/schema.md).

/// A declared type. Names of classes are without `/db/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'k> {
    /// `/db/String`
    String,
    /// `/db/Integer`
    Integer,
    /// `/db/Double`
    Double,
    /// `/db/Boolean`
    Boolean,
    /// `/db/Date`, a day
    Date,
    /// `/db/DateTime`, an instant
    DateTime,
    /// `/db/Time`, a time of day
    Time,
    /// `/db/File`, the id of a file
    File,
    /// `/db/GeoPoint`, latitude and longitude
    GeoPoint,
    /// `/db/JsonObject` and `/db/JsonArray`: JSON as it is
    Json,
    /// `/db/collection.List[…]`
    List(Box<Kind<'k>>),
    /// `/db/collection.Set[…]`, in JSON a list whose order says nothing
    Set(Box<Kind<'k>>),
    /// `/db/collection.Map[…,…]`: type of the values; keys are texts
    Map(Box<Kind<'k>>),
    /// A class: embedded, or a reference to an object of it
    Class(&'k str),
}

impl<'k> Kind<'k> {
    /// Reads a declaration; none where it is not one.
    pub fn parse(text: &'k str) -> Option<Kind<'k>> {
        Kind::nested(text, 8)
    }

    fn nested(text: &'k str, depth: usize) -> Option<Kind<'k>> {
        let name = text.strip_prefix("/db/").filter(|_| depth > 0)?;
        let arguments = |collection: &str| name.strip_prefix(collection)?.strip_prefix('[')?.strip_suffix(']');
        if let Some(element) = arguments("collection.List") {
            return Kind::nested(element, depth - 1).map(|element| Kind::List(Box::new(element)));
        }
        if let Some(element) = arguments("collection.Set") {
            return Kind::nested(element, depth - 1).map(|element| Kind::Set(Box::new(element)));
        }
        if let Some(pair) = arguments("collection.Map") {
            // The key is a plain type or a class, so the first comma ends it.
            let (key, value) = pair.split_once(',')?;
            Kind::nested(key.trim(), 1)?;
            return Kind::nested(value.trim(), depth - 1).map(|value| Kind::Map(Box::new(value)));
        }
        Some(match name {
            "String" => Kind::String,
            "Integer" => Kind::Integer,
            "Double" => Kind::Double,
            "Boolean" => Kind::Boolean,
            "Date" => Kind::Date,
            "DateTime" => Kind::DateTime,
            "Time" => Kind::Time,
            "File" => Kind::File,
            "GeoPoint" => Kind::GeoPoint,
            "JsonObject" | "JsonArray" => Kind::Json,
            class if !class.is_empty() && !class.contains(['[', ']', ',', '/']) => Kind::Class(class),
            _ => return None,
        })
    }

    /// The class that the type is about, also inside of collections.
    pub fn class(&self) -> Option<&'k str> {
        match self {
            Kind::Class(class) => Some(class),
            Kind::List(element) | Kind::Set(element) | Kind::Map(element) => element.class(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_types_classes_and_collections() {
        assert_eq!(Kind::parse("/db/Integer"), Some(Kind::Integer));
        assert_eq!(Kind::parse("/db/logs.AppLog"), Some(Kind::Class("logs.AppLog")));
        assert_eq!(Kind::parse("/db/collection.Set[/db/User]"), Some(Kind::Set(Box::new(Kind::Class("User")))));
        assert_eq!(Kind::parse("/db/collection.Map[/db/String,/db/Double]"), Some(Kind::Map(Box::new(Kind::Double))));
        for text in
            ["", "String", "/db/", "/db/collection.List[]", "/db/collection.List[/db/String", "/db/collection.Map[/db/String]", "/db/a/b"]
        {
            assert_eq!(Kind::parse(text), None, "{text}");
        }
    }
}
