//! Differences of the model that have a name each.

/// Declares an enum with the names of its variants, so that each is one line with its documentation.
macro_rules! named {
    ($(#[$of_all:meta])* $all:ident; $($(#[$doc:meta])* $one:ident = $name:literal,)*) => {
        $(#[$of_all])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $all {
            $($(#[$doc])* $one,)*
        }

        impl $all {
            /// All of them.
            pub const ALL: [$all; [$($name),*].len()] = [$($all::$one),*];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self {
                    $($all::$one => $name,)*
                }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<$all> {
                $all::ALL.into_iter().find(|one| one.name() == name)
            }
        }
    };
}

pub(super) use named;
