def test_x(project):
    import polars as pl

    for p in sorted(project.root.rglob("*")):
        if p.is_file() and "mlruns" not in str(p):
            print(p.relative_to(project.root), p.stat().st_size)
    print((project.root / "metrics/periods.json").read_text())
    for n in ("clump", "quasar"):
        t = pl.read_parquet(project.build / "templates" / n / "stars.parquet")
        print(t["split"].value_counts(), t.height)
        print(pl.read_parquet(project.build / "templates" / n / "refused.parquet"))
    print(project.packaged)
