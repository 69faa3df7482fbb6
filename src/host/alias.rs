//! Which module is the variant driver for a function, by the aliases that modules declare, as libvirt finds it.

/// The fields of an alias: vendor, device, their subsystem's, class, subclass, interface.
const FIELDS: [&str; 7] = ["v", "d", "sv", "sd", "bc", "sc", "i"];

/// The module whose `vfio_pci:` alias fits best: the one with the fewest fields left open.
pub fn best(aliases: &str, modalias: &str) -> Option<String> {
    let function = fields(modalias.strip_prefix("pci:")?)?;
    let fitting = aliases.lines().filter_map(|line| {
        let (alias, module) = line.strip_prefix("alias vfio_pci:")?.split_once(' ')?;
        let alias = fields(alias)?;
        let fits = alias.iter().zip(function).all(|(wanted, has)| *wanted == "*" || *wanted == has);
        fits.then(|| (alias.iter().filter(|field| **field == "*").count(), module))
    });
    // Of two that fit alike the first is taken.
    fitting.min_by_key(|(open, _)| *open).map(|(_, module)| module.trim().to_owned())
}

/// The names of fields are in small letters and their values are not, so each name is found where it stands.
fn fields(text: &str) -> Option<[&str; 7]> {
    let mut values = [""; 7];
    let mut rest = text.strip_prefix(FIELDS[0])?;
    for (value, next) in values.iter_mut().zip(&FIELDS[1..]) {
        (*value, rest) = rest.split_once(next)?;
    }
    values[6] = rest;
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MLX5: &str = "pci:v000015B3d0000101Esv000015B3sd00000007bc02sc00i00";

    #[test]
    fn the_alias_with_the_fewest_open_fields_wins() {
        let any = "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n";
        let device = "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n";
        let subsystem = "alias vfio_pci:v000015B3d0000101Esv000015B3sd*bc*sc*i* vendor_vfio_pci\n";
        let of = |aliases: &[&str]| best(&aliases.concat(), MLX5);
        assert_eq!(of(&[any]).as_deref(), Some("vfio_pci"));
        assert_eq!(of(&[any, device]).as_deref(), Some("mlx5_vfio_pci"));
        assert_eq!(of(&[subsystem, device, any]).as_deref(), Some("vendor_vfio_pci"));
    }

    #[test]
    fn aliases_of_others_do_not_fit() {
        let others = "alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core\n\
                      alias vfio_pci:v000015B3d0000101Fsv*sd*bc*sc*i* other\nalias vfio_pci:garbage x\nalias\n";
        assert_eq!(best(others, MLX5), None);
        assert_eq!(best("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n", "mdev:type"), None);
    }
}
