"""The training loop.

`engine` runs the stage runs of `stages`. `initialize` builds the network, `trained_models` holds
generator, critic, optimizers (`optimization`) and EMA. `steps` is one step on a batch, with
`content_loss`, `losses` and `adversarial`. `validation` measures, `checkpoint_selection` keeps the
best weights. `run_folder` saves the state; `run_log`, `tensorboard_log` and `progress` report.
"""
