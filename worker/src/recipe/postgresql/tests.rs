use super::*;

const MARK: &str = "-- PostgreSQL database dump complete";

fn databases(names: &[(&str, bool)]) -> Vec<Database> {
    names.iter().map(|(name, template)| Database { name: (*name).to_owned(), template: *template }).collect()
}

#[test]
fn releases_compare_across_the_change_of_numbering() {
    let of_text = |version: &str| release_of_text(&format!("pg_dump (PostgreSQL) {version}\n"));
    assert_eq!(of_text("15.18 (Debian 15.18-0+deb12u1)"), Some((15, 0)));
    assert_eq!(of_text("9.6.24"), Some((9, 6)));
    assert_eq!(of_text("18beta1"), Some((18, 0)));
    assert_eq!(release_of_text("pg_dump: not found"), None);
    assert_eq!(release_of_number(150_018), (15, 0));
    assert_eq!(release_of_number(90_624), (9, 6));
    assert!(of_text("9.6.24") < Some(release_of_number(100_001)));
}

#[test]
fn sql_is_whole_with_its_mark_at_the_very_end() {
    let whole = [
        format!("COMMIT;\n\n--\n{MARK}\n--\n\n"),
        format!("COMMIT;\n\n--\n{MARK}\n--\n\n\\unrestrict 0aZ\n\n"),
        format!("--\n{MARK}\n--\n"),
    ];
    for text in &whole {
        assert!(ends_in_mark(text.as_bytes(), MARK), "{text}");
    }
    let cut = [
        String::new(),
        format!("--\n{MARK}"),
        format!("--\n{MARK}\n--"),
        format!("--\n{MARK}\n--\n\nCOPY t FROM stdin;\n"),
        format!("{MARK}\n--\n"),
        format!("1\t{MARK}\n--\n"),
        "--\n-- PostgreSQL database cluster dump complete\n--\n\n".to_owned(),
        "\\unrestrict 0aZ\n".to_owned(),
    ];
    for text in &cut {
        assert!(!ends_in_mark(text.as_bytes(), MARK), "{text}");
    }
}

#[test]
fn a_pattern_means_one_table() {
    assert_eq!(pattern("orders"), r#""orders""#);
    assert_eq!(pattern("Sales.Order items"), r#""Sales"."Order items""#);
    assert_eq!(pattern("a.b.c"), r#""a"."b.c""#);
    assert_eq!(pattern("a\"*"), r#""a""*""#);
}

#[test]
fn all_databases_are_those_that_are_no_templates() {
    let all = databases(&[("a", false), ("template1", true), ("z", false)]);
    assert_eq!(chosen(&[], &all).unwrap(), ["a", "z"]);
    let named = ["z".to_owned(), "template1".to_owned()];
    assert_eq!(chosen(&named, &all).unwrap(), ["z", "template1"]);
    let Err(SourceError::Refused(message)) = chosen(&["z".to_owned(), "y".to_owned()], &all) else { panic!() };
    assert!(message.contains("\"y\"") && !message.contains("\"z\""), "{message}");
    assert!(chosen(&[], &databases(&[("template1", true)])).is_err());
}

#[test]
fn files_of_databases_with_like_names_differ() {
    let mut names = HashSet::from([FileName::of("globals", "sql")]);
    let given: Vec<_> =
        ["a b", "a_b", "a$b", "globals"].map(|name| free_name(name, "sql", &mut names).to_string()).into();
    assert_eq!(given, ["a_b.sql", "a_b.2.sql", "a_b.3.sql", "globals.2.sql"]);
}
