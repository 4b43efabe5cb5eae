"""Measuring models on color images.

- `ground_truth`: the images; `metrics`, `frechet`: the measures;
- `evaluate`: runs models over images; `accumulators` holds sums over images, `records` the results;
- `tables`, `sheets`, `charts` in `text_report` and `html_report`: the results for people;
- `quick_score`: mean scores of one model, for fine-tuning;
- `calibration`: correction of a model's expected error.
"""
