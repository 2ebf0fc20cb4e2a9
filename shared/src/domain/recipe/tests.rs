use std::collections::HashSet;

use serde_json::json;

use super::reader::{MAX_LINE_BYTES, MAX_LIST_BYTES};
use super::*;

/// A field's key, what is sent for it, and how that prints.
type Given = (&'static str, &'static str, &'static str);

/// What has the form of a certificate.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

/// What is sent for each field of each recipe.
const GIVEN: [(&str, &[Given]); 8] = [
    (
        "file-backups",
        &[
            ("root_path", "/a b\r\n\r\n/c\r\n", "/a b\n/c"),
            ("exclude", "*.log\n", "*.log"),
            ("compression_level", "0", "0"),
            ("use_sudo", "True", "True"),
            ("one_file_system", "1", "True"),
        ],
    ),
    (
        "laravel-forge-backups",
        &[
            ("site_path", "/home/forge/example.com", "/home/forge/example.com"),
            ("backup_storage_folder", "on", "True"),
            ("backup_database", "no", "False"),
            ("compression_level", "19", "19"),
            ("use_sudo", "yes", "True"),
        ],
    ),
    (
        "mysql-backups",
        &[
            ("mysql_host", "db.example.com.", "db.example.com"),
            ("mysql_port", "3307", "3307"),
            ("mysql_username", "snapshooter-demo", "snapshooter-demo"),
            ("mysql_password", "hunter2", "**set**"),
            ("mysql_tls", "verify-full", "verify-full"),
            ("mysql_tls_ca", AUTHORITY, AUTHORITY),
            ("mysql_database", "shop, my-popular-minecraft-server", "shop,my-popular-minecraft-server"),
            ("mysql_excluded_tables", "sessions\nshop.cache, logs", "sessions\nshop.cache\nlogs"),
            ("single_transaction", "0", "False"),
            ("routines", "0", "False"),
            ("events", "0", "False"),
            ("triggers", "0", "False"),
            ("run_on_replica", "1", "True"),
            ("compression_level", "3", "3"),
        ],
    ),
    (
        "url-backups",
        &[
            ("url", "u:hunter2@example.com", "**set**"),
            ("use_compression", "1", "True"),
            ("compression_level", "1", "1"),
        ],
    ),
    (
        "postgresql-backups",
        &[
            ("postgresql_host", "[2001:DB8::1]", "2001:db8::1"),
            ("postgresql_port", "5433", "5433"),
            ("postgresql_username", "backup", "backup"),
            ("postgresql_password", " hunter2 ", "**set**"),
            ("postgresql_tls", "verify-ca", "verify-ca"),
            ("postgresql_tls_ca", AUTHORITY, AUTHORITY),
            ("postgresql_database", "Größe 1", "Größe 1"),
            ("postgresql_excluded_tables", "public.log", "public.log"),
            ("postgresql_excluded_table_data", "public.audit", "public.audit"),
            ("postgresql_format", "custom", "custom"),
            ("postgresql_globals", "false", "False"),
            ("compression_level", "3", "3"),
        ],
    ),
    (
        "mongodb-backups",
        &[
            ("mongodb_host", "10.0.0.9", "10.0.0.9"),
            ("mongodb_port", "27018", "27018"),
            ("mongodb_username", "backup", "backup"),
            ("mongodb_password", "hunter2", "**set**"),
            ("mongodb_database", "shop", "shop"),
            ("mongodb_authentication_database", "users", "users"),
            ("compression_level", "3", "3"),
        ],
    ),
    (
        "redis-backups",
        &[
            ("redis_host", "cache", "cache"),
            ("redis_port", "6380", "6380"),
            ("redis_username", "backup", "backup"),
            ("redis_password", "hunter2", "**set**"),
            ("redis_tls", "require", "require"),
            ("redis_tls_ca", AUTHORITY, AUTHORITY),
            ("compression_level", "3", "3"),
        ],
    ),
    (
        "sqlite-backups",
        &[("sqlite_path", "/srv/app.db", "/srv/app.db"), ("compression_level", "3", "3"), ("use_sudo", "1", "True")],
    ),
];

fn recipe(slug: &str) -> &'static RecipeDefinition {
    RecipeDefinition::find(slug).unwrap()
}

fn config(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The config that [`GIVEN`] tells, as a form sends it.
fn given(slug: &str) -> Map<String, Value> {
    let (_, fields) = GIVEN.iter().find(|(name, _)| *name == slug).unwrap();
    fields.iter().map(|(key, value, _)| ((*key).to_owned(), json!(value))).collect()
}

/// Keeps what was sealed readable for the test.
fn sealed(draft: RecipeDraft) -> Recipe {
    draft.seal(|key, secret| Ok::<_, ()>(Sealed(format!("sealed {key} {}", secret.expose().len())))).unwrap()
}

fn made(slug: &str) -> Recipe {
    sealed(recipe(slug).configure(&given(slug), true).unwrap())
}

fn printed(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    recipe.settings().into_iter().map(|(field, value)| (field.key, plain(value.to_json()))).collect()
}

fn faults(slug: &str, change: Value) -> Vec<(String, String)> {
    let mut config = given(slug);
    config.extend(change.as_object().unwrap().clone());
    match recipe(slug).configure(&config, false) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|(field, all)| (field.to_owned(), all.join("; "))).collect(),
    }
}

#[track_caller]
fn refused(slug: &str, key: &str, value: Value, says: &str) {
    let told = faults(slug, json!({ key: value }));
    let [(field, message)] = &told[..] else { panic!("{slug} {key} {value}: {told:?}") };
    assert_eq!(field, key, "{slug} {value}");
    assert!(message.contains(says), "{slug} {key} {value}: {message}");
}

#[test]
fn every_definition_fits_its_config() {
    let mut ids = HashSet::new();
    for recipe in RECIPES {
        let blank = (recipe.blank)();
        assert_eq!((blank.slug(), blank.id()), (recipe.slug, recipe.id));
        assert_eq!(serde_json::to_value(&blank).unwrap()["recipe"], recipe.slug);
        assert!(ids.insert(recipe.id) && RecipeDefinition::find(&recipe.id.to_string()).unwrap().slug == recipe.slug);
        assert_eq!(blank.config().settings().len(), recipe.fields.len(), "{}", recipe.slug);
        for (field, value) in blank.settings() {
            let fits = match (field.kind, field.secret, &value) {
                (_, true, Setting::Secret(false)) => blank.clone().config_mut().secret(field.key).is_some(),
                (FieldKind::Text | FieldKind::Textarea, false, Setting::Text(text)) => text.is_empty(),
                (FieldKind::Number, false, Setting::Number(_)) | (FieldKind::Checkbox, false, Setting::Flag(_)) => true,
                (FieldKind::Select(words), false, Setting::Text(text)) => words.contains(&text.as_ref()),
                _ => false,
            };
            assert!(fits, "{} {}: {value:?}", recipe.slug, field.key);
        }
    }
    assert_eq!(GIVEN.map(|(slug, _)| recipe(slug).id), [1, 8, 28, 1001, 1002, 1003, 1004, 1005]);
}

#[test]
fn every_field_is_taken_and_printed_and_stored() {
    for (slug, fields) in GIVEN {
        let recipe = made(slug);
        let expected: Vec<_> = fields.iter().map(|(key, _, value)| (*key, (*value).to_owned())).collect();
        assert_eq!(printed(&recipe), expected, "{slug}");
        let stored = serde_json::to_value(&recipe).unwrap();
        assert!(!stored.to_string().contains("hunter2"), "{stored}");
        assert_eq!(serde_json::from_value::<Recipe>(stored).unwrap(), recipe);
    }
}

#[test]
fn an_edit_changes_what_is_given_and_keeps_the_rest() {
    for (slug, fields) in GIVEN {
        let before = made(slug);
        assert_eq!(sealed(before.reconfigure(&Map::new(), true).unwrap()), before);
        let nulls = fields.iter().map(|(key, ..)| ((*key).to_owned(), Value::Null)).collect();
        assert_eq!(sealed(before.reconfigure(&nulls, true).unwrap()), before, "{slug}: null is as if left out");
        let next = before.reconfigure(&config(json!({"compression_level": 7})), true).unwrap();
        let changed: Vec<_> =
            printed(&before).into_iter().zip(printed(&sealed(next))).filter(|(a, b)| a != b).collect();
        assert_eq!(changed.len(), 1, "{slug}: {changed:?}");
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let least = |slug: &str| match slug {
        "file-backups" => json!({"root_path": "/"}),
        "url-backups" => json!({"url": "example.com"}),
        "sqlite-backups" => json!({"sqlite_path": "/a"}),
        _ => json!({}),
    };
    for recipe in RECIPES {
        let least = least(recipe.slug);
        let made = sealed(recipe.configure(&config(least.clone()), false).unwrap());
        for ((field, value), (_, default)) in made.settings().into_iter().zip(recipe.defaults()) {
            if least.get(field.key).is_none() {
                assert_eq!(value.to_json(), default, "{} {}", recipe.slug, field.key);
            }
        }
    }
    let Recipe::MysqlBackups(mysql) = sealed(recipe("mysql-backups").configure(&Map::new(), false).unwrap()) else {
        panic!("another recipe")
    };
    assert_eq!((mysql.access, mysql.single_transaction, mysql.compression_level), (Access::local(3306), true, 6));
}

#[test]
fn what_cannot_be_left_out_is_named() {
    let told = |slug: &str, sent: Value, serverless| match recipe(slug).configure(&config(sent), serverless) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|(field, all)| format!("{field} {}", all.join("; "))).collect::<Vec<_>>(),
    };
    for (slug, key) in [("file-backups", "root_path"), ("url-backups", "url"), ("sqlite-backups", "sqlite_path")] {
        for nothing in [json!({}), json!({key: null}), json!({key: ""}), json!({key: " \n"})] {
            let told = told(slug, nothing.clone(), false);
            assert!(told.len() == 1 && told[0].starts_with(key), "{slug} {nothing}: {told:?}");
        }
        let emptied = made(slug).reconfigure(&config(json!({key: ""})), false).unwrap_err();
        assert!(emptied.contains(key), "{slug}: an edit cannot take it away");
    }
    assert_eq!(told("url-backups", json!({"url": "**set**"}), false).len(), 1, "there is nothing to keep");
    for prefix in ["mysql", "postgresql", "redis"] {
        let slug = format!("{prefix}-backups");
        assert!(told(&slug, json!({}), false).is_empty());
        let lacking = format!("{prefix}_host is required where the compute is not a server");
        assert_eq!(told(&slug, json!({}), true), [lacking]);
    }
}

#[test]
fn what_is_not_a_field_is_refused_by_name() {
    for (slug, fields) in GIVEN {
        refused(slug, "toString", json!(1), &format!("is not a field of {slug}; it has {}", fields[0].0));
        refused(slug, "Compression_Level", Value::Null, "is not a field");
    }
    refused("mysql-backups", "root_path", json!("/"), "is not a field of mysql-backups");
}

#[test]
fn each_kind_of_field_says_what_it_takes() {
    for recipe in RECIPES {
        for field in recipe.fields {
            let refused = |value: Value, says: &str| refused(recipe.slug, field.key, value, says);
            match field.kind {
                FieldKind::Number => {
                    let wrong =
                        [json!(-1), json!(1.5), json!(70_000), json!("six"), json!([6]), json!({}), json!(true)];
                    wrong.into_iter().for_each(|value| refused(value, "must be a whole number from"));
                }
                FieldKind::Checkbox => {
                    let wrong = [json!(2), json!("perhaps"), json!([true]), json!({})];
                    wrong.into_iter().for_each(|value| refused(value, "must be true or false"));
                }
                FieldKind::Select(words) => {
                    let says = format!("must be one of {}", words.join(", "));
                    let wrong = [json!(1), json!("PLAIN"), json!("tar"), json!(["plain"])];
                    wrong.into_iter().for_each(|value| refused(value, &says));
                }
                FieldKind::Text | FieldKind::Textarea | FieldKind::Password => {
                    let wrong = [json!(3), json!(true), json!(["/"]), json!({"value": "/"})];
                    wrong.into_iter().for_each(|value| refused(value, "must be text"));
                    refused(json!("/a\u{7}b"), "");
                    refused(json!("/a\0"), "");
                    refused(json!("x".repeat(MAX_LIST_BYTES + 1)), "");
                }
            }
        }
    }
}

#[test]
fn empty_text_empties_what_can_be_empty() {
    for recipe in RECIPES {
        for field in recipe.fields.iter().filter(|field| field.need != Need::Always) {
            let before = made(recipe.slug);
            let emptied = sealed(before.reconfigure(&config(json!({field.key: ""})), false).unwrap());
            let value_in = |recipe: &Recipe| printed(recipe).into_iter().find(|(key, _)| *key == field.key).unwrap().1;
            let expected = match field.kind {
                FieldKind::Text | FieldKind::Textarea => String::new(),
                FieldKind::Password => "**not set**".to_owned(),
                // A form sends it for what nobody filled in.
                FieldKind::Number | FieldKind::Checkbox | FieldKind::Select(_) => value_in(&before),
            };
            assert_eq!(value_in(&emptied), expected, "{} {}", recipe.slug, field.key);
        }
    }
}

#[test]
fn values_out_of_bounds_are_refused() {
    for (slug, fields) in GIVEN {
        refused(slug, "compression_level", json!(20), "from 0 to 19");
        for (key, ..) in fields.iter().filter(|(key, ..)| key.ends_with("_port")) {
            refused(slug, key, json!(0), "from 1 to 65535");
            refused(slug, key, json!(65_536), "from 1 to 65535");
        }
        for (key, ..) in fields.iter().filter(|(key, ..)| key.ends_with("_host")) {
            for host in
                ["-oProxyCommand=id", "a b", "a;b", "2130706433", "0x7f.1", "db:3306", "user@db", "/run/mysql.sock"]
            {
                refused(slug, key, json!(host), "");
            }
        }
        for (key, ..) in fields.iter().filter(|(key, ..)| key.ends_with("_username")) {
            refused(slug, key, json!("--defaults-file=/x"), "no leading dash");
            refused(slug, key, json!("x".repeat(129)), "1 to 128 characters");
        }
        let names = ["_database", "_excluded_tables", "_excluded_table_data"];
        for (key, ..) in fields.iter().filter(|(key, ..)| names.iter().any(|end| key.ends_with(end))) {
            if *key == "backup_database" {
                continue;
            }
            for name in
                ["-x", "--all-databases", "a/b", "../x", "a*", "a'b", "a\"b", "a`b", "a;b", "a\\b", "x=y", "a\tb"]
            {
                refused(slug, key, json!(name), "must hold letters, digits, spaces and _-$.@#+ only");
            }
            refused(slug, key, json!("x".repeat(130)), "must not be longer than");
        }
    }
}

#[test]
fn lists_are_bounded_and_hold_nothing_twice() {
    let many = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
    refused("mysql-backups", "mysql_database", json!("a,b,a"), "entry 3 stands there twice");
    refused("mysql-backups", "mysql_database", json!(many(101).join(",")), "more than 100 entries");
    refused("mysql-backups", "mysql_excluded_tables", json!(many(1_001).join("\n")), "more than 1000 entries");
    assert!(faults("mysql-backups", json!({"mysql_excluded_tables": many(1_000).join("\n")})).is_empty());
    let long = format!("/{}", "x".repeat(MAX_LINE_BYTES));
    let paths: String = (0..=files::MAX_ROOT_PATHS).map(|n| format!("/{n}\n")).collect();
    for (path, says) in [
        ("relative", "line 1 must be absolute"),
        ("/a\n./b", "line 2 must be absolute"),
        ("~", "absolute"),
        ("/a\n/a", "line 2 stands there twice"),
        ("/a\u{1b}[2J", "control characters"),
        (long.as_str(), "line 1 must not be longer than 4096 bytes"),
        (paths.as_str(), "more than 100 lines"),
    ] {
        refused("file-backups", "root_path", json!(path), says);
    }
    refused("sqlite-backups", "sqlite_path", json!("app.db"), "must be absolute");
    refused("sqlite-backups", "sqlite_path", json!(long), "must not be longer than 4096 bytes");
    refused("laravel-forge-backups", "site_path", json!("~/site"), "must be absolute");
}

#[test]
fn every_offending_field_is_told_at_once() {
    let change = json!({
        "mysql_host": "a b", "mysql_port": 0, "mysql_username": "-x", "mysql_password": "a\nb", "mysql_database": "a/b",
        "mysql_excluded_tables": 3, "routines": "perhaps", "compression_level": 20, "other": 1,
    });
    let told: Vec<_> = faults("mysql-backups", change.clone()).into_iter().map(|(field, _)| field).collect();
    let mut expected: Vec<_> = change.as_object().unwrap().keys().cloned().collect();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_secret_stays_until_it_is_replaced_or_taken_away() {
    for (slug, key) in
        [("mysql-backups", "mysql_password"), ("redis-backups", "redis_password"), ("url-backups", "url")]
    {
        let before = made(slug);
        let edit = |value: Value| before.reconfigure(&config(json!({key: value})), false);
        for kept in [Value::Null, json!("**set**"), json!("**not set**")] {
            assert_eq!(sealed(edit(kept).unwrap()), before, "{slug}");
        }
        let replaced = edit(json!("other.example/longer/than/before")).unwrap();
        assert!(!format!("{replaced:?}").contains("longer"), "a draft must not print its secrets");
        assert_ne!(sealed(replaced), before);
    }
    let before = made("mysql-backups");
    let gone = sealed(before.reconfigure(&config(json!({"mysql_password": ""})), false).unwrap());
    let Recipe::MysqlBackups(mysql) = gone else { panic!("another recipe") };
    assert_eq!(mysql.access.password, None);
}

#[test]
fn a_secret_that_cannot_be_sealed_stops_everything() {
    let draft = recipe("url-backups").configure(&given("url-backups"), false).unwrap();
    assert_eq!(draft.seal(|key, _| Err(key.to_owned())), Err("url".to_owned()));
}

#[test]
fn resealing_reaches_every_secret_and_nothing_else() {
    for (slug, fields) in GIVEN {
        let before = made(slug);
        let mut keys = Vec::new();
        let again = before.clone().resealed(|key, sealed| {
            keys.push(key.to_owned());
            Ok::<_, ()>(Sealed(sealed.0.clone()))
        });
        assert_eq!(again, Ok(before));
        let secrets: Vec<_> = fields.iter().filter(|(.., value)| *value == "**set**").map(|(key, ..)| *key).collect();
        assert_eq!(keys, secrets, "{slug}");
    }
}

#[test]
fn a_url_is_meant_only_where_no_files_are_named() {
    let files = recipe("1");
    let meant = |sent: Value, before: Option<&Recipe>| files.meant(&config(sent), before).slug;
    assert_eq!(meant(json!({"url": "example.com"}), None), "url-backups");
    assert_eq!(meant(json!({"url": "example.com", "root_path": ""}), None), "url-backups");
    assert_eq!(meant(json!({"url": "example.com", "root_path": "/"}), None), "file-backups");
    assert_eq!(meant(json!({}), None), "file-backups");
    assert_eq!(meant(json!({}), Some(&made("url-backups"))), "url-backups");
    assert_eq!(recipe("28").meant(&config(json!({"url": "x"})), None).slug, "mysql-backups");
}
