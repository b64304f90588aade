"""Two steps of torch.optim.AdamW, the golden numbers of src/train/optimiser.rs."""
import torch

weights = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
optimiser = torch.optim.AdamW([weights], lr=0.1, weight_decay=0.01)
for gradient in ([0.5, -1.0], [0.1, 0.3]):
    weights.grad = torch.tensor(gradient)
    optimiser.step()
torch.set_printoptions(precision=9)
print(weights.data)
