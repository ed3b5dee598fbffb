use super::*;

/// As in serde's documentation of `rename_all`.
#[test]
fn names_are_those_that_serde_makes() {
    let rules = [
        ("lowercase", "verytasty".to_owned(), "very_tasty".to_owned()),
        ("UPPERCASE", "VERYTASTY".to_owned(), "VERY_TASTY".to_owned()),
        ("PascalCase", "VeryTasty".to_owned(), "VeryTasty".to_owned()),
        ("camelCase", "veryTasty".to_owned(), "veryTasty".to_owned()),
        ("snake_case", "very_tasty".to_owned(), "very_tasty".to_owned()),
        ("SCREAMING_SNAKE_CASE", "VERY_TASTY".to_owned(), "VERY_TASTY".to_owned()),
        ("kebab-case", "very-tasty".to_owned(), "very-tasty".to_owned()),
        ("SCREAMING-KEBAB-CASE", "VERY-TASTY".to_owned(), "VERY-TASTY".to_owned()),
    ];
    for (name, variant, field) in rules {
        let rule = Rule::named(name).unwrap();
        assert_eq!((rule.variant("VeryTasty"), rule.field("very_tasty")), (variant, field), "{name}");
    }
    assert_eq!(Rule::named("Title Case"), None);
}
