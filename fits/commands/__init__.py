"""What the commands of ``kinetics`` do, a module per group; `fits.cli` imports them when they are asked for."""
