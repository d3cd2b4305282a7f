//! From the generated export functions to a plugin's traits. Named by the export macros alone.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::bindings::base::exports::tidegate::plugin::plugin as raw;
use crate::bindings::{migrator, router, transformer, types, validator};
use crate::{Migrator, Plugin, Router, Transformer, Validator, log};

/// The type that an export macro makes: it knows the plugin and holds its one instance.
pub trait Exported: 'static {
    type Plugin: Plugin;

    fn instance() -> &'static LocalKey<Cell<Option<Self::Plugin>>>;
}

/// Calls the instance. It is put back after the call: one that panicked is gone, as is the component it was in.
fn with<E: Exported, T>(call: impl FnOnce(&mut E::Plugin) -> T) -> T {
    E::instance().with(|instance| {
        let Some(mut plugin) = instance.take() else {
            log::error!("a batch came before the configuration: the host must call `configure` first");
            std::process::abort();
        };
        let result = call(&mut plugin);
        instance.set(Some(plugin));
        result
    })
}

impl<E: Exported> raw::Guest for E {
    fn manifest() -> raw::PluginManifest {
        let manifest = E::Plugin::manifest();
        raw::PluginManifest {
            name: manifest.name.to_owned(),
            version: manifest.version.to_owned(),
            description: manifest.description.to_owned(),
            config_schema: manifest.config_schema.map(str::to_owned),
        }
    }

    fn configure(config: String) -> Result<(), String> {
        // Without this the reason for a panic is lost: all the host sees is a trap.
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
        let plugin = crate::plugin::configure(&config)?;
        E::instance().set(Some(plugin));
        Ok(())
    }
}

impl<E: Exported<Plugin: Validator>> validator::exports::tidegate::plugin::validator::Guest for E {
    fn validate(batch: types::Batch) -> Vec<validator::exports::tidegate::plugin::validator::Verdict> {
        with::<E, _>(|plugin| crate::validator::run(plugin, &batch))
    }
}

impl<E: Exported<Plugin: Migrator>> migrator::exports::tidegate::plugin::migrator::Guest for E {
    fn migrate(batch: types::Batch) -> migrator::exports::tidegate::plugin::migrator::MigratedBatch {
        with::<E, _>(|plugin| crate::migrator::run(plugin, &batch))
    }
}

impl<E: Exported<Plugin: Router>> router::exports::tidegate::plugin::router::Guest for E {
    fn route(batch: types::Batch) -> router::exports::tidegate::plugin::router::RoutedBatch {
        with::<E, _>(|plugin| crate::router::run(plugin, &batch))
    }
}

impl<E: Exported<Plugin: Transformer>> transformer::exports::tidegate::plugin::transformer::Guest for E {
    fn transform(batch: types::Batch) -> transformer::exports::tidegate::plugin::transformer::TransformedBatch {
        with::<E, _>(|plugin| crate::transformer::run(plugin, &batch))
    }
}

/// Makes the component export a [`Validator`](crate::Validator). Natively it only checks that the trait is there.
#[macro_export]
macro_rules! export_validator {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin: validator Validator);
    };
}

/// Makes the component export a [`Migrator`](crate::Migrator). Natively it only checks that the trait is there.
#[macro_export]
macro_rules! export_migrator {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin: migrator Migrator);
    };
}

/// Makes the component export a [`Router`](crate::Router). Natively it only checks that the trait is there.
#[macro_export]
macro_rules! export_router {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin: router Router);
    };
}

/// Makes the component export a [`Transformer`](crate::Transformer). Natively it only checks that the trait is there.
#[macro_export]
macro_rules! export_transformer {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin: transformer Transformer);
    };
}

/// What the macros of the roles have in common. A plugin of several roles names them here, each with its module and
/// trait: `export_plugin!(Both: validator Validator, router Router)`.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty: $($module:ident $role:ident),+) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::std::cell::Cell<::std::option::Option<$plugin>> =
                    const { ::std::cell::Cell::new(::std::option::Option::None) };
            }

            struct Exported;

            impl $crate::export::Exported for Exported {
                type Plugin = $plugin;

                fn instance() -> &'static ::std::thread::LocalKey<::std::cell::Cell<::std::option::Option<$plugin>>> {
                    &INSTANCE
                }
            }

            $crate::bindings::base::export_base!(Exported with_types_in $crate::bindings::base);
            $($crate::bindings::$module::export_role!(Exported with_types_in $crate::bindings::$module);)+
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            $({
                fn has_role<T: $crate::$role>() {}
                has_role::<$plugin>();
            })+
        };
    };
}
