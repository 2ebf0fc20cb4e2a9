//! Grants: what a login may do, as `SHOW GRANTS` tells it.
//!
//! A dump tool leaves out without a word what the login may not see: tables, triggers, routines. So the grants are looked
//! at first.

/// What a login may do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    grants: Vec<Grant>,
    /// Whether roles are among them: what those bring is not listed everywhere, so nothing is certain to be missing.
    pub has_roles: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Grant {
    privileges: Vec<String>,
    object: Object,
}

/// What a grant is for.
#[derive(Debug, PartialEq, Eq)]
enum Object {
    Everything,
    /// Databases whose names match a pattern as of `LIKE`.
    Databases(String),
    Table(String, String),
    /// A routine, a proxied user.
    Other,
}

impl Grants {
    /// Takes in a line of `SHOW GRANTS`; what is none is passed over.
    pub(super) fn read(&mut self, line: &str) {
        let Some(grant) = line.strip_prefix("GRANT ") else { return };
        let Some((privileges, rest)) = split(grant, " ON ") else {
            self.has_roles = true;
            return;
        };
        let object = split(rest, " TO ").map_or(rest, |(object, _)| object);
        let privileges = privileges.split(',').map(|one| one.trim().to_uppercase()).collect();
        self.grants.push(Grant { privileges, object: Object::read(object) });
    }

    /// Whether the login has the privilege everywhere.
    pub(super) fn has(&self, privilege: &str) -> bool {
        self.grants.iter().any(|grant| grant.object == Object::Everything && grant.gives(privilege))
    }

    /// Whether it has the privilege in the whole of a database.
    pub(super) fn has_in(&self, database: &str, privilege: &str) -> bool {
        let covers = |object: &Object| match object {
            Object::Everything => true,
            Object::Databases(pattern) => matches(&lowercase(pattern), &lowercase(database)),
            _ => false,
        };
        self.grants.iter().any(|grant| covers(&grant.object) && grant.gives(privilege))
    }

    /// Whether it sees the routines of a database. One that it sees and may not read makes the tool fail aloud.
    pub(super) fn sees_routines(&self, database: &str) -> bool {
        let of_proc = |object: &Object| matches!(object, Object::Table(db, table) if db == "mysql" && table == "proc");
        let anywhere = ["SHOW_ROUTINE", "SHOW CREATE ROUTINE", "SELECT"].iter().any(|one| self.has(one));
        let here = ["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", "SHOW CREATE ROUTINE"];
        anywhere
            || here.iter().any(|one| self.has_in(database, one))
            || self.has_in("mysql", "SELECT")
            || self.grants.iter().any(|grant| of_proc(&grant.object) && grant.gives("SELECT"))
    }
}

impl Grant {
    fn gives(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|one| one == privilege || one == "ALL PRIVILEGES" || one == "ALL")
    }
}

impl Object {
    fn read(text: &str) -> Self {
        match split(text, ".") {
            Some(("*", "*")) => Self::Everything,
            Some((database, "*")) => Self::Databases(unquoted(database)),
            Some((database, table)) if !database.contains(' ') || database.starts_with('`') => {
                Self::Table(unquoted(database), unquoted(table))
            }
            _ => Self::Other,
        }
    }
}

/// Splits at the first separator that is outside of quotation marks.
fn split<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut quote = None;
    for (at, one) in text.char_indices() {
        match quote {
            None if text[at..].starts_with(separator) => return Some((&text[..at], &text[at + separator.len()..])),
            None if "`'\"".contains(one) => quote = Some(one),
            Some(mark) if mark == one => quote = None,
            _ => {}
        }
    }
    None
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(inner) => inner.replace("``", "`"),
        None => name.to_owned(),
    }
}

/// Names of databases are compared without their case: what a server that minds it would not let through, it tells.
fn lowercase(name: &str) -> Vec<char> {
    name.to_lowercase().chars().collect()
}

/// `LIKE`: from the last `%` that was seen on, one more character is skipped each time that the rest does not fit.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut begin, mut retry) = (0, 0, None);
    while begin < name.len() {
        match &pattern[at..] {
            ['%', ..] => {
                at += 1;
                retry = Some((at, begin));
            }
            ['\\', one, ..] if name[begin] == *one => (at, begin) = (at + 2, begin + 1),
            ['_', ..] => (at, begin) = (at + 1, begin + 1),
            [one, ..] if *one != '\\' && name[begin] == *one => (at, begin) = (at + 1, begin + 1),
            _ => match retry {
                Some((after, skipped)) => {
                    (at, begin) = (after, skipped + 1);
                    retry = Some((after, begin));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        let mut grants = Grants::default();
        lines.iter().for_each(|line| grants.read(line));
        grants
    }

    #[test]
    fn what_is_granted_is_found_and_nothing_else() {
        let some = grants(&[
            "GRANT USAGE ON *.* TO `b`@`localhost` IDENTIFIED BY PASSWORD '*5DF9'",
            "GRANT SELECT, LOCK TABLES, SHOW VIEW ON `shop\\_1`.* TO `b`@`localhost`",
            "GRANT SELECT ON `odd ON name`.* TO `b`@`localhost`",
            "GRANT SELECT (`a`, `b`), INSERT ON `part`.`t` TO `b`@`localhost`",
            "GRANT EXECUTE ON PROCEDURE `shop_1`.`p` TO `b`@`localhost`",
            "GRANT ALL PRIVILEGES ON `team%`.* TO `b`@`localhost` WITH GRANT OPTION",
        ]);
        assert!(some.has_in("shop_1", "SELECT") && some.has_in("SHOP_1", "SHOW VIEW"));
        assert!(!some.has_in("shopx1", "SELECT") && !some.has_in("shop_1", "TRIGGER") && !some.has("SELECT"));
        assert!(some.has_in("odd ON name", "SELECT") && !some.has_in("part", "SELECT"));
        assert!(some.has_in("team_a", "EVENT") && some.sees_routines("team_a") && !some.sees_routines("shop_1"));
        assert!(!some.has_roles);
    }

    #[test]
    fn patterns_match_as_like_does() {
        let like = |pattern: &str, name: &str| matches(&lowercase(pattern), &lowercase(name));
        for (pattern, name) in
            [("%", ""), ("%", "a"), ("a%", "a"), ("%b%", "abc"), ("a_c", "abc"), ("a\\%", "a%"), ("%a%bc", "xaybbc")]
        {
            assert!(like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a", ""), ("a_", "a"), ("a\\%", "ab"), ("a\\_c", "abc"), ("%b", "abc")] {
            assert!(!like(pattern, name), "{pattern} {name}");
        }
        assert!(!like(&"%a".repeat(30), &"a".repeat(29)));
    }

    #[test]
    fn the_ways_to_see_routines() {
        for line in [
            "GRANT SELECT ON *.* TO `b`@`%`",
            "GRANT SHOW_ROUTINE ON *.* TO `b`@`%`",
            "GRANT SELECT ON `mysql`.`proc` TO `b`@`%`",
            "GRANT SELECT ON `mysql`.* TO `b`@`%`",
            "GRANT EXECUTE ON `shop`.* TO `b`@`%`",
            "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION",
        ] {
            assert!(grants(&[line]).sees_routines("shop"), "{line}");
        }
        assert!(!grants(&["GRANT SELECT ON `shop`.* TO `b`@`%`"]).sees_routines("shop"));
    }

    #[test]
    fn roles_and_global_grants_are_seen() {
        assert!(grants(&["GRANT `reader`@`%` TO `b`@`%`"]).has_roles);
        let all = grants(&["GRANT SELECT, RELOAD, REPLICATION CLIENT ON *.* TO `b`@`%`"]);
        assert!(all.has("RELOAD") && all.has_in("any", "SELECT") && !all.has("PROCESS") && !all.has_roles);
    }
}
