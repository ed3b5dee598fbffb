use super::*;

const NAME: &str = "PersonCreated";

/// Topic, prefix, suffix; `-` is "not given".
type Row = ([&'static str; 3], [&'static str; 3], &'static str);

fn given(part: &'static str) -> Option<&'static str> {
    (part != "-").then_some(part)
}

fn attribute([topic, prefix, suffix]: [&'static str; 3]) -> TopicParts<'static> {
    TopicParts { topic: given(topic), prefix: given(prefix), suffix: given(suffix) }
}

fn arguments([topic, prefix, suffix]: [&'static str; 3]) -> TopicArguments {
    let owned = |part| given(part).map(str::to_owned);
    TopicArguments { topic: owned(topic), prefix: owned(prefix), suffix: owned(suffix) }
}

const NONE: [&str; 3] = ["-", "-", "-"];

#[rustfmt::skip]
const TABLE: [Row; 52] = [
    // Neither: the version is the prefix.
    (NONE, NONE, "v3.PersonCreated"),
    // The attribute alone says all of it.
    (["people", "-", "-"], NONE, "people"),
    (["-", "v1", "-"], NONE, "v1.PersonCreated"),
    (["-", "-", "eu"], NONE, "PersonCreated.eu"),
    (["people", "v1", "-"], NONE, "v1.people"),
    (["people", "-", "eu"], NONE, "people.eu"),
    (["-", "v1", "eu"], NONE, "v1.PersonCreated.eu"),
    (["people", "v1", "eu"], NONE, "v1.people.eu"),
    // Arguments alone say all of it.
    (NONE, ["folk", "-", "-"], "folk"),
    (NONE, ["-", "v2", "-"], "v2.PersonCreated"),
    (NONE, ["-", "-", "us"], "PersonCreated.us"),
    (NONE, ["folk", "v2", "-"], "v2.folk"),
    (NONE, ["folk", "-", "us"], "folk.us"),
    (NONE, ["-", "v2", "us"], "v2.PersonCreated.us"),
    (NONE, ["folk", "v2", "us"], "v2.folk.us"),
    // Any argument switches the attribute off completely.
    (["people", "-", "-"], ["folk", "-", "-"], "folk"),
    (["people", "-", "-"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["people", "-", "-"], ["-", "-", "us"], "PersonCreated.us"),
    (["people", "-", "-"], ["folk", "v2", "us"], "v2.folk.us"),
    (["-", "v1", "-"], ["folk", "-", "-"], "folk"),
    (["-", "v1", "-"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["-", "v1", "-"], ["-", "-", "us"], "PersonCreated.us"),
    (["-", "v1", "-"], ["folk", "v2", "us"], "v2.folk.us"),
    (["-", "-", "eu"], ["folk", "-", "-"], "folk"),
    (["-", "-", "eu"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["-", "-", "eu"], ["-", "-", "us"], "PersonCreated.us"),
    (["-", "-", "eu"], ["folk", "v2", "us"], "v2.folk.us"),
    (["people", "v1", "-"], ["folk", "-", "-"], "folk"),
    (["people", "v1", "-"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["people", "v1", "-"], ["-", "-", "us"], "PersonCreated.us"),
    (["people", "-", "eu"], ["folk", "-", "-"], "folk"),
    (["people", "-", "eu"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["people", "-", "eu"], ["-", "-", "us"], "PersonCreated.us"),
    (["-", "v1", "eu"], ["folk", "-", "-"], "folk"),
    (["-", "v1", "eu"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["-", "v1", "eu"], ["-", "-", "us"], "PersonCreated.us"),
    (["people", "v1", "eu"], ["folk", "-", "-"], "folk"),
    (["people", "v1", "eu"], ["-", "v2", "-"], "v2.PersonCreated"),
    (["people", "v1", "eu"], ["-", "-", "us"], "PersonCreated.us"),
    (["people", "v1", "eu"], ["folk", "v2", "-"], "v2.folk"),
    (["people", "v1", "eu"], ["folk", "-", "us"], "folk.us"),
    (["people", "v1", "eu"], ["-", "v2", "us"], "v2.PersonCreated.us"),
    (["people", "v1", "eu"], ["folk", "v2", "us"], "v2.folk.us"),
    // An empty part is said, and adds nothing.
    (["people", "", "-"], NONE, "people"),
    (["", "v1", ""], NONE, "v1.PersonCreated"),
    (["-", "", "-"], NONE, "PersonCreated"),
    (["people", "v1", "eu"], ["", "-", "-"], "PersonCreated"),
    (["people", "v1", "eu"], ["-", "", "-"], "PersonCreated"),
    (["people", "v1", "eu"], ["-", "-", ""], "PersonCreated"),
    (NONE, ["-", "", "us"], "PersonCreated.us"),
    (NONE, ["", "", ""], "PersonCreated"),
    (NONE, ["folk", "", ""], "folk"),
];

#[test]
fn a_topic_is_said_in_one_place() {
    for (attribute_row, argument_row, expected) in TABLE {
        let topic = Topic::resolve(NAME, 3, attribute(attribute_row), &arguments(argument_row));
        assert_eq!(topic.as_str(), expected, "attribute {attribute_row:?}, arguments {argument_row:?}");
    }
}

#[test]
fn what_some_broker_would_refuse_is_named() {
    assert_eq!(Topic::named("v1.Person_Created-x").fault(), None);
    for bad in ["", "with space", "sl/ash", "ümlaut", &"x".repeat(TOPIC_BYTES_MAX + 1)] {
        assert!(Topic::named(bad).fault().is_some(), "{bad}");
    }
}
