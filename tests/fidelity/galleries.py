"""Scripts from the galleries of three packages, each run as a plain cell and under `%%argo`.

    UV_ARGO_TEST_GALLERIES=FOLDER python tests/fidelity/galleries.py

writes the table of galleries in docs/fidelity.md. FOLDER contains source distributions from
`pip download --no-deps --no-binary :all:`; they are read, and never unpacked, built or installed.

The scripts are quick, give the same output each time, and do not use the network.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cells
import compare
import table

FOLDER = "UV_ARGO_TEST_GALLERIES"
# archive -> (folder in the archive, packages, scripts)
GALLERIES = {
    "matplotlib": ("galleries/examples", ("matplotlib", "numpy"), """
        axes_grid1/demo_axes_grid axes_grid1/simple_axesgrid axisartist/simple_axisline color/color_by_yvalue
        color/color_demo images_contours_and_fields/barcode_demo images_contours_and_fields/contour_demo
        images_contours_and_fields/contourf_hatching images_contours_and_fields/image_annotated_heatmap
        images_contours_and_fields/matshow images_contours_and_fields/plot_streamplot
        lines_bars_and_markers/bar_stacked lines_bars_and_markers/barchart lines_bars_and_markers/fill
        lines_bars_and_markers/linestyles lines_bars_and_markers/simple_plot lines_bars_and_markers/stackplot_demo
        lines_bars_and_markers/stem_plot misc/set_and_get misc/table_demo mplot3d/bars3d
        mplot3d/surface3d pie_and_polar_charts/nested_pie pie_and_polar_charts/polar_demo pyplots/pyplot_simple
        pyplots/pyplot_two_subplots scales/log_demo
    """),
    "networkx": ("examples", ("networkx", "numpy", "scipy", "matplotlib"), """
        3d_drawing/plot_basic algorithms/plot_beam_search
        algorithms/plot_bipartite_motif_abcore algorithms/plot_circuits algorithms/plot_cycle_detection
        algorithms/plot_davis_club algorithms/plot_krackhardt_centrality algorithms/plot_lca
        algorithms/plot_shortest_path algorithms/plot_snap basic/plot_properties basic/plot_read_write
        basic/plot_simple_graph drawing/plot_center_node drawing/plot_degree drawing/plot_directed
        drawing/plot_edge_colormap drawing/plot_eigenvalues drawing/plot_four_grids drawing/plot_house_with_colors
        drawing/plot_multipartite_graph drawing/plot_random_geometric_graph drawing/plot_selfloops
        drawing/plot_weighted_graph graph/plot_dag_layout graph/plot_degree_sequence graph/plot_erdos_renyi
        graph/plot_karate_club graph/plot_triad_types graph/plot_mst
    """),
    "scikit_learn": ("examples", ("scikit-learn", "numpy", "scipy", "matplotlib"), """
        cluster/plot_kmeans_plusplus cluster/plot_agglomerative_dendrogram cluster/plot_affinity_propagation
        cluster/plot_mean_shift decomposition/plot_pca_vs_lda feature_selection/plot_f_test_vs_mi
        linear_model/plot_huber_vs_ridge linear_model/plot_nnls linear_model/plot_omp linear_model/plot_ransac
        linear_model/plot_ridge_path linear_model/plot_sgd_loss_functions linear_model/plot_sgd_separating_hyperplane
        miscellaneous/plot_isotonic_regression miscellaneous/plot_roc_curve_visualization_api mixture/plot_gmm_pdf
        neighbors/plot_nearest_centroid neighbors/plot_regression svm/plot_separating_hyperplane
        svm/plot_svm_margin tree/plot_iris_dtc
    """),
}  # fmt: skip
# The value comes last under %%argo; docs/fidelity.md gives the reason.
EXPECTED = {
    "linear_model/plot_nnls": {
        "order": (("stdout", "execute_result", "display_data"), ("stdout", "display_data", "execute_result"))
    }
}


def folder() -> Path | None:
    """Return the folder of the archives, if it is set."""
    path = os.environ.get(FOLDER)
    return Path(path) if path else None


def scripts(archives: Path) -> tuple[cells.Cell, ...]:
    """Return the scripts in the existing archives, each as a cell named ARCHIVE/SCRIPT."""
    found = []
    for package, (subfolder, deps, names) in GALLERIES.items():
        for archive in sorted(archives.glob(f"{package}-*.tar.gz")):
            top = archive.name.removesuffix(".tar.gz")
            with tarfile.open(archive) as tar:
                for name in names.split():
                    member = tar.extractfile(f"{top}/{subfolder}/{name}.py")
                    if member is None:
                        message = f"{archive.name} has no {name}"
                        raise FileNotFoundError(message)
                    text = member.read().decode("utf-8")
                    found.append(cells.Cell(name=f"{top}/{name}", source=text, deps=deps))
    return tuple(found)


def compare_scripts(archives: Path) -> dict[str, tuple[compare.Outputs, compare.Outputs]]:
    """Run each script both ways; returns the pairs (plain, argo)."""
    found = scripts(archives)
    with tempfile.TemporaryDirectory() as folder:
        pairs = compare.run(found, Path(folder))
    return {cell.name: pair for cell, pair in zip(found, pairs, strict=True)}


def rows(pairs: dict[str, tuple[compare.Outputs, compare.Outputs]]) -> str:
    """Return the table: the outputs of the plain cell, and whether `%%argo` gives the same."""
    lines = ["| script | stdout | figures | result | error | under `%%argo` |", "|---|---|---|---|---|---|"]
    for name, (plain, argo) in pairs.items():
        sizes = [
            part.removeprefix("image/png: ") for display in plain.displays for part in display if "image/png" in part
        ]
        result = ", ".join(part.partition(":")[0] for part in plain.result)
        stdout = f"{plain.stdout.count(chr(10))} lines" if plain.stdout else ""
        different = ", ".join(compare.differences(plain, argo))
        error = plain.error[0] if plain.error else ""
        verdict = f"differs: {different}" if different else "the same"
        lines.append(f"| {name} | {stdout} | {', '.join(sizes)} | {result} | {error} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Run the scripts both ways, and write the table."""
    archives = folder()
    if archives is None:
        sys.exit(f"{FOLDER} names no folder")
    pairs = compare_scripts(archives)
    page = table.replace_marked(table.DOCS.read_text(encoding="utf-8"), {"galleries": rows(pairs)})
    table.DOCS.write_text(page, encoding="utf-8")
    for name, pair in pairs.items():
        for aspect, (plain, argo) in compare.differences(*pair).items():
            print(f"{name}: {aspect}: {plain!r:.300} {argo!r:.300}")  # noqa: T201


if __name__ == "__main__":
    main()
