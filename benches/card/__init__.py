"""`benches/run card`: the defects for which packages of the design card do less here than their names promise."""
